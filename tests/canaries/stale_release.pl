# slab.c: A bit of R whose A is clear stays: after a killed fold the next block there looks free.
s/uint64_t released = slab_released\(l, span, w\)/$& & bits/;

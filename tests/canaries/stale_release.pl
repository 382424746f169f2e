# slab.c: A bit of R whose A is clear stays: after a killed fold the next block there looks free.
s/fold = released\[w\] & ~held\[w\];/fold = released[w] & ~held[w] & before;/;

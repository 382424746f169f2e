# slab.c: A slab's state is durable before its bitmaps and its record.
s/    slab_flush\(l, \*span, class\);\n//;

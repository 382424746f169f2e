# slab.c: A bit of R whose A is clear stays: after a killed fold the next block there looks free.
s/        allocated\[w\] = bits;\n/        allocated[w] = bits;\n        released[w] &= before;\n/;

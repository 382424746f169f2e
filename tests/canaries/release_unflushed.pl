# slab.c: A free by another is not durable.
s/(    \} while \(!fam_cas\(word, &r, r \| bit\)\);\n)    layout_persist\(l, word\);\n/$1/;

# slab.c: R is cleared before A: a fold that is killed brings freed blocks back.
s/( *if \(bits != before\)\n *fam_store_release\(&a\[w\], bits\);\n)( *if \(fold != 0\) \{.*?\n        \}\n)/$2$1/s;

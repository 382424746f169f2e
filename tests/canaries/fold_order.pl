# slab.c: R is cleared before A: a fold that is killed brings freed blocks back.
s/(fam_store_release\(&a\[w\], bits\);\s*)(fam_and\(&r\[2 \* w\].*?;\s*fam_and\(&r\[2 \* w \+ 1\].*?;\s*)/$2$1/s;

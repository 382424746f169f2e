# slab.c: What a bulk free drops is not durably free when what is left becomes permanent.
s/        fam_or\(&r\[1\], blocks >> 32\);\n    layout_flush_words\(l, r, 2\);/        fam_or(&r[1], blocks >> 32);/;

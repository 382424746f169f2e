# slab.c: R is cleared durably while A is not: freed blocks come back.
s/    layout_flush_words\(l, a, c->words\);\n    layout_fence\(l\);\n    for/    for/;

# slab.c: A slab changes its generation before it is durable which blocks are permanent.
s/        layout_flush_words\(l, bits, c->words\);\n        layout_fence\(l\);\n    \} else/    } else/;

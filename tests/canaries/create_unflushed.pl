# slab.c: A slab's state is durable before its bitmaps and its record.
s/    layout_flush_words\(l, a, c->words\);\n    layout_flush_words\(l, committed, c->words\);\n    layout_flush_words\(l, r, 2 \* \(uint64_t\)c->words\);\n/    (void)r;\n/;

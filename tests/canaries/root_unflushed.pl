# heap_root.c: A root is durable before its name and pointer.
s/        layout_flush_words\(l, &root->state, .*?\n        layout_fence\(l\);\n//s;

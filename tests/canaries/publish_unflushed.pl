# heap_alloc.c: A pointer is durable before the block it leads to is allocated.
s/        flush_block\(heap, block\);\n/        (void)flush_block;\n/;

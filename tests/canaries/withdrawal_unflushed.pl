# heap_alloc.c: alps_free_from frees before it is durable that the pointer has gone.
s/    layout_persist\(heap_layout\(heap\), word\);.*?\n//;

# heap_alloc.c: malloc_to does not note what it is about to do.
s/(heap_alloc\(heap, size, 16, node, )intent,/$1NULL,/;

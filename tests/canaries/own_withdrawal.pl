# heap_alloc.c: An owner's free_from frees at once what an heir may free once more.
s/slab_remote_free\(&heap->instance, place\.span, place\.state, place\.index\);/heap_free(heap, block);/;

# heap_generation.c: bulk_free forgets the generation before its blocks are freed.
s/ *word \|= GENERATION_FREEING;\n/$&    fam_cas(entry, &word, 0);\n/;

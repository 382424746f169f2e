# heap_generation.c: A bulk free that somebody else has overtaken frees the next generation's blocks.
s/fam_load_acquire\(entry\) == bulk->word/true/g;
s/const fam_word_t \*entry = .*?\n//;

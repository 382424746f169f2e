# slab.c: A fold does not look for intents: a block is freed for one who died, and again for its next.
s/if \(any != 0\)(\s*find_intents)/if (any == ~(uint64_t)0)$1/;

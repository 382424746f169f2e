# heap_generation.c: A bulk free takes a block at once that an heir may free once more.
s/slab_release_blocks\(l, span, w, drop\[w\]\);/fam_and(\&slab_allocated(l, span, class)[w], ~drop[w]);/;

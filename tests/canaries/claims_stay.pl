# heap_recover.c: What the dead had claimed is not given back.
s/if \(span_owner\(state\) == instance->owner\) \{/if (false) {/;

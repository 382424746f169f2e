# heap_recover.c: What the dead had claimed is not given back.
s/kind == SPAN_CLAIMED && span_owner\(state\) == instance->owner/false/;

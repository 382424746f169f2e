# heap_alloc.c: Whoever folds may not see an intent that an heir acts upon.
s/(    if \(span_kind\(place\.state\) == SPAN_SLAB\)\n        slab_announce_free\([^;]*;\n)(    fam_store_release\(&intent->op, INTENT_FREE\);\n    layout_persist\([^;]*;\n)/$2$1/;

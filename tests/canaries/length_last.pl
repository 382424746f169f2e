# extent.c: An extent is published before its length is written.
s/( *fam_store)(_release\(layout_state\(&instance->layout, first\), span_extent\(incarnation\)\);)/$1(&layout_record(&instance->layout, first)->length, 0);\n$1$2\n$1(&layout_record(&instance->layout, first)->length, count);/;

# extent.c: The rest of a run in reserve has no first span of its own.
s/fam_store_release\(layout_state\(&instance->layout, run\.first\), run\.state\);//;

# extent.c: What was in reserve is taken without looking whether somebody else has it.
s/return fam_cas\(layout_state\(l, run->first\), &expected, state\);/fam_store_release(layout_state(l, run->first), state), (void)expected;\n    return true;/;

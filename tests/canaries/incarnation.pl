# slab.c: A free by R does not compare the incarnation: a late one hits what lies there now.
s/r >> 32 != span_incarnation\(state\)/false/;

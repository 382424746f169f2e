# instance.c: The slot is taken before it counts as used: nobody recovers who dies in between.
s/^ +note_used\(l, i\);\n//m; s/(become\(instance, i, live\);)/$1\n        note_used(l, i);/;

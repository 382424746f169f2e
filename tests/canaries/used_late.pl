# instance.c: The slot is taken before it counts as used: nobody recovers who dies in between.
s/fam_add\(used, 1\)/fam_load(used)/; s/(become\(instance, number, live\);)/$1\n    if (number >= layout_slots_used(l))\n        fam_add(&layout_super(l)->slots_used, 1);/;

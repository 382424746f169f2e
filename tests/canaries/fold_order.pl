# slab.c: R is cleared before A: a fold that is killed brings freed blocks back.
my $loop = qr/    for \(unsigned w = 0; w < c->words; w\+\+\) \{\n/;
s/($loop        uint64_t before = fam_load\(&a\[w\]\), fold.*?\n    \}\n)(.*?)($loop        uint64_t fold = .*?\n    \}\n)/$3$1$2/s;

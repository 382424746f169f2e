# instance.c: Spans carry a generation that the table does not durably have.
s/ +layout_persist\(l, entry\); \/\* before any span carries.*?\n//;

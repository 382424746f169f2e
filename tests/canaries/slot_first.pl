# heap_recover.c: The heir frees the slot first: if it dies, too, nobody looks for the rest.
s/bool carried = heap_settle\(&heir, report\);/instance_leave(&heir, false);\n            heap_settle(&heir, report);/; s/instance_leave\(&heir, !carried\);//;

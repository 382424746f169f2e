# heap_generation.c: A generation is committed before its bitmaps are durable.
s/        flush_runs\(heap, index\);\n        if \(number != ALPS_PERMANENT\)/        if (number != ALPS_PERMANENT)/;

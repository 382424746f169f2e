#!/usr/bin/env bash
# with_file.sh COMMAND...: with libalps-malloc.so (LIBRARY) on a heap in a new file. At the end the
# heap is clean, and what was left there goes when the next program starts: FILL. TOOL is the tool.
. "$(dirname "$0")/../support/program.sh"

heap=$dir/heap
with_heap=(env "LD_PRELOAD=$LIBRARY" "ALPS_MALLOC_HEAP=$heap" ALPS_MALLOC_SIZE=4G)

"${with_heap[@]}" "$@" || exit

run 0 "${with_heap[@]}" "$FILL" 1
run 0 "$TOOL" recover "$heap"
run 0 "$TOOL" check "$heap"
run 0 "$TOOL" roots --json "$heap"
equals "programs noted" "$(grep -o 'alps-malloc\.' "$dir/out" | wc -l)" 1
run 0 "$TOOL" walk --limit 0 --json "$heap"
equals "generations left" "$(grep -o '"generation":[0-9]*' "$dir/out" | sort -u | wc -l)" 1
verdict

#!/usr/bin/env bash
# with_file.sh COMMAND...: runs it with libalps-malloc.so (LIBRARY) on a heap in a new file. At the
# end the heap, after the dead were taken in, is clean, and what was left there goes when the next
# program starts. TOOL is the tool.
set -euo pipefail

dir=$(mktemp -d /dev/shm/alps-preload.XXXXXX)
trap 'rm -rf "$dir"' EXIT
heap=$dir/heap

status=0
LD_PRELOAD=$LIBRARY ALPS_MALLOC_HEAP=$heap ALPS_MALLOC_SIZE=4G "$@" || status=$?
[ $status -eq 0 ] || exit $status

# The next program that starts has all that the dead left freed: it has one generation, its own.
LD_PRELOAD=$LIBRARY ALPS_MALLOC_HEAP=$heap perl -e 'exit 0'
"$TOOL" recover "$heap" >"$dir/log"
"$TOOL" check "$heap"
generations=$("$TOOL" walk --limit 0 --json "$heap" | grep -o '"generation":[0-9]*' | sort -u | wc -l)
roots=$("$TOOL" roots --json "$heap" | grep -o 'alps-malloc\.' | wc -l)
if [ "$generations" -gt 1 ] || [ "$roots" -ne 1 ]; then
    echo "$generations generations and $roots roots are left:"
    "$TOOL" info "$heap"
    exit 1
fi

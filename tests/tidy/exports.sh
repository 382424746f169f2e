#!/usr/bin/env bash
# The shared library LIBRARY exports what alps.h declares as ALPS_API, and the variable of fast.h.
. "$(dirname "$0")/common.sh"
cd "$1"

declared() {
    tr '\n' ' ' <alps/include/alps/alps.h | grep -oE '\bALPS_API [^;(]*\balps_[a-z_]+\(' |
        grep -oE 'alps_[a-z_]+\($' | tr -d '('
    grep -ohE '\balps_fast_thread_[0-9]+;' alps/include/alps/fast.h 2>/dev/null | tr -d ';' || true
}
exported() {
    nm -D --defined-only "$LIBRARY" | awk '$2 != "A" { sub(/@.*/, "", $3); print $3 }' | sort
}
problem_at_each "declared, not exported" < <(comm -23 <(declared | sort) <(exported))
problem_at_each "exported, not declared" < <(comm -13 <(declared | sort) <(exported))
[ -n "$(declared)" ] || problem alps.h "declares nothing"
verdict

#!/usr/bin/env bash
# The shared library LIBRARY exports what alps.h declares as ALPS_API, and nothing else.
. "$(dirname "$0")/common.sh"
cd "$1"

declared() {
    tr '\n' ' ' <alps/include/alps/alps.h | grep -oE '\bALPS_API [^;(]*\balps_[a-z_]+\(' |
        grep -oE 'alps_[a-z_]+\($' | tr -d '(' | sort
}
exported() {
    nm -D --defined-only "$LIBRARY" | awk '$2 != "A" { sub(/@.*/, "", $3); print $3 }' | sort
}
problem_at_each "declared, not exported" < <(comm -23 <(declared) <(exported))
problem_at_each "exported, not declared" < <(comm -13 <(declared) <(exported))
[ -n "$(declared)" ] || problem alps.h "declares nothing"
verdict

#!/usr/bin/env bash
# Shared metadata is touched through fam alone: the other files of the library have atomics only on
# memory of the process, and say so in the line: "/* DRAM: ...".
. "$(dirname "$0")/common.sh"
cd "$1"

shopt -s extglob
list sources 'alps/src/!(fam*).[ch]'
problem_at_each "an atomic outside fam" < <(
    grep -HnE '__atomic|__sync_|_Atomic|stdatomic\.h|\bvolatile\b' "${sources[@]}" |
        grep -v '/\* DRAM:' | cut -d: -f1-2)
verdict

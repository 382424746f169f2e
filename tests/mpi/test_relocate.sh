#!/usr/bin/env bash
# Tests of alps-mpi-relocate: its options, results, verdicts, and what it leaves when it is killed.
. "$(dirname "$0")/ranks.sh"

small='--elements 200 --changes 50 --warmup 1 --iterations 6'

# ---- the command line, without mpirun ----

run 0 "$driver" --help
says '^usage: mpirun \[-np N\] alps-mpi-relocate \[OPTION\]'
for option in ranks duration structures elements changes moves nodes emu; do
    says " --$option"
done
while read -r arguments; do
    # shellcheck disable=SC2086 # words
    run 2 "$driver" $arguments
    warns '^alps-mpi-relocate: .'
done <<'BAD'
--bogus
--structures 0
--elements 0
--moves 101
BAD

# ---- results ----

# shellcheck disable=SC2086 # words
ranks 0 4 --ranks 1,2,4 --repeat 2 $small --json "$dir/json-lines" --csv "$dir/csv"
says '^RESULT: PASS$'
equals "lines of the table" "$(lines '^ +[124] +1 ' "$dir/out")" 3
is_json "$dir/json-lines"
equals "repetition records" "$(lines '"record":"repetition"' "$dir/json-lines")" 6
for count in remaps inserted removed resized rebuilt; do
    equals "repetitions of 4 ranks without $count" \
        "$(lines "\"ranks\":4,.*\"repetition\".*\"$count\":0,?" "$dir/json-lines")" 0
done
equals "CSV: summaries" "$(lines '^summary,[124],1,' "$dir/csv")" 3
# shellcheck disable=SC2086 # words
ranks 0 2 $small --moves 0 --json "$dir/json-lines"
equals "no remaps" "$(lines '"record":"repetition".*"remaps":0,' "$dir/json-lines")" 1

# ---- kinds of work ----

while read -r number arguments; do
    # shellcheck disable=SC2086 # words
    ranks 0 "$number" --warmup 2 --iterations 10 $arguments
    says '^RESULT: PASS$'
done <<'GOOD'
1 --structures 1
2 --structures 3 --elements 1 --changes 300
3 --structures 5 --moves 100
2 --elements 3000 --changes 0
3 --nodes 0 --elements 300
2 --elements 300 --emu cxl-switch --emu-mode virtual
2 --elements 300 --emu cxl-switch
GOOD

# ---- what must not pass ----

# shellcheck disable=SC2086 # words
ranks 1 3 $small --inject-corruption
warns '^alps-mpi-relocate: rank [0-2] of 3: (list|tree|graph) [0-9]+: element 0x[0-9a-f]+: byte 0 is'
says '^RESULT: FAIL$'
ranks 1 2 --size 16M --elements 1000000 --iterations 2
warns '^alps-mpi-relocate: rank [01] of 2: list [0-9]+: no room for an element: .'

dies_well --elements 200
equals "heaps at the end" "$(heaps)" "$heaps_before"
verdict

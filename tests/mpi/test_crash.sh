#!/usr/bin/env bash
# Tests of alps-mpi-crash: its options, results, verdicts, and what it leaves when it is killed.
. "$(dirname "$0")/ranks.sh"

small='--blocks 300 --warmup 1 --iterations 6 --kill-interval 5ms --size 256M'

# ---- the command line, without mpirun ----

run 0 "$driver" --help
says '^usage: mpirun \[-np N\] alps-mpi-crash \[OPTION\]'
for option in ranks duration seed heap size keep json csv workers blocks min-size max-size \
    kill-interval commit; do
    says " --$option"
done
while read -r arguments; do
    # shellcheck disable=SC2086 # words
    run 2 "$driver" $arguments
    warns '^alps-mpi-crash: .'
done <<'BAD'
--bogus
--workers 0
--workers 65
--blocks 0
--commit 101
--kill-interval 0
--min-size 5000 --max-size 4096
--ranks 100 --workers 64
--worker
--worker 3 4 0
--worker 3 4 0 1
--worker x 4 0 1
BAD

# ---- results ----

# shellcheck disable=SC2086 # words
ranks 0 4 --ranks 1,2,4 --repeat 2 $small --json "$dir/json-lines" --csv "$dir/csv"
says '^# +ranks +kills '
says '^RESULT: PASS$'
equals "lines of the table" "$(lines '^ +[124] ' "$dir/out")" 3
equals "what is said on stderr" "$(cat "$dir/err")" ""
is_json "$dir/json-lines"
equals "repetition records" "$(lines '"record":"repetition"' "$dir/json-lines")" 6
for count in 1 2 4; do
    equals "kills by $count ranks" \
        "$(lines "\"record\":\"summary\",\"ranks\":$count,\"kills\":$((count * 12))," \
            "$dir/json-lines")" 1
done
equals "repetitions without blocks freed" "$(lines '"blocks_freed":0,' "$dir/json-lines")" 0
equals "CSV: headers" "$(lines '^ranks,kills,recoveries,recovery_p50_us,' "$dir/csv")" 1

# shellcheck disable=SC2086 # words
ranks 0 2 $small --commit 0 --json "$dir/json-lines"
equals "commits" "$(lines '"blocks_committed":0,' "$dir/json-lines")" 2
# shellcheck disable=SC2086 # words
ranks 0 2 $small --commit 100 --json "$dir/json-lines"
equals "bulk frees" "$(lines '"blocks_freed":0,' "$dir/json-lines")" 2

# ---- kinds of work ----

while read -r number arguments; do
    # shellcheck disable=SC2086 # words
    ranks 0 "$number" --warmup 2 --iterations 15 --kill-interval 5ms $arguments
    says '^RESULT: PASS$'
done <<'GOOD'
1 --workers 1
2 --workers 6
3 --blocks 1
2 --blocks 20 --min-size 64K --max-size 8M
2 --size 16M
2 --blocks 20000 --max-size 100
GOOD

# ---- what must not pass ----

# shellcheck disable=SC2086 # words
ranks 1 2 $small --inject-corruption
warns '^alps-mpi-crash: rank [01] of 2: block 0x[0-9a-f]+ of [0-9]+ bytes: byte [0-9]+ is wrong, 0x'
says '^RESULT: FAIL$'
# shellcheck disable=SC2086 # words
ranks 1 2 $small --inject-leak
warns '^alps-mpi-crash: rank 0 of 2: block 0x[0-9a-f]+ of 112 bytes .* belongs to nobody$'
says '^RESULT: FAIL$'
# shellcheck disable=SC2086 # words
ranks 1 3 $small --size 16M --blocks 1000000
warns '^alps-mpi-crash: rank 0 of 3: no room for the table: .'
echo precious >"$dir/heap.shared"
# shellcheck disable=SC2086 # words
ranks 1 2 $small --heap "$dir/heap"
warns "cannot create $dir/heap.shared: File exists$"
equals "a file that was there" "$(cat "$dir/heap.shared")" precious
rm "$dir/heap.shared"

# ---- the heap's file ----

# shellcheck disable=SC2086 # words
ranks 0 2 $small --heap "$dir/heap"
equals "files that are left" "$(find "$dir" -name "heap*")" ""
# shellcheck disable=SC2086 # words
ranks 0 2 $small --heap "$dir/heap" --keep
says "^# kept: $dir/heap$"
run 0 "$tool" check "$dir/heap"
run 0 "$tool" stat --json "$dir/heap"
equals "blocks in a kept heap" "$(field live_blocks)" 0

# ---- killed ----

dies_well --blocks 300
equals "heaps at the end" "$(heaps)" "$heaps_before"
verdict

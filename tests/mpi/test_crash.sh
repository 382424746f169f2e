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
says '^# +ranks +domains +kills '
says '^RESULT: PASS$'
equals "lines of the table" "$(lines '^ +[124] ' "$dir/out")" 3
equals "what is said on stderr" "$(cat "$dir/err")" ""
is_json "$dir/json-lines"
equals "repetition records" "$(lines '"record":"repetition"' "$dir/json-lines")" 6
for count in 1 2 4; do
    equals "kills by $count ranks" \
        "$(lines "\"record\":\"summary\",\"ranks\":$count,\"domains\":1,\"kills\":$((count * 12))," \
            "$dir/json-lines")" 1
done
equals "repetitions without blocks freed" "$(lines '"blocks_freed":0,' "$dir/json-lines")" 0
equals "CSV: headers" "$(lines '^record,ranks,domains,kills,recoveries,recovery_p50_us,' \
    "$dir/csv")" 3

# shellcheck disable=SC2086 # words
ranks 0 2 $small --commit 0 --json "$dir/json-lines"
equals "commits" "$(lines '"blocks_committed":0,' "$dir/json-lines")" 2
# shellcheck disable=SC2086 # words
ranks 0 2 $small --commit 100 --json "$dir/json-lines"
equals "bulk frees" "$(lines '"blocks_freed":0,' "$dir/json-lines")" 2

# The time line around a kill: 40 ms of it, with quartiles around the median.
ranks 0 2 --blocks 300 --warmup 1 --duration 2s --kill-interval 30ms --csv "$dir/csv"
checks=$((checks + 1))
awk -F, '/^timeline,/ { count++; if (!($6 <= $5 && $5 <= $7) || $7 <= 0 || $4 == 0) wrong = 1 }
    END { exit wrong || count != 40 }' "$dir/csv" || complain "no good time line"

# ---- emulated memory: the workers' accesses are, too ----

for mode in virtual spin; do
    ranks 0 2 --blocks 300 --warmup 1 --iterations 4 --emu cxl-switch --emu-mode $mode
    says '^RESULT: PASS$'
done

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

# ---- a job that is killed as a whole, and another that recovers ----

run 2 "$driver" --recover
warns '--recover needs --heap'
# shellcheck disable=SC2086 # words
ranks 1 2 $small --recover --heap "$dir/absent"
warns "cannot use the heap: $dir/absent: .*No such file"
"$tool" create "$dir/foreign" >/dev/null
# shellcheck disable=SC2086 # words
ranks 1 2 $small --recover --heap "$dir/foreign"
warns "cannot open $dir/foreign.shared: No such file"
head -c 2M /dev/zero >"$dir/foreign.shared"
# shellcheck disable=SC2086 # words
ranks 1 2 $small --recover --heap "$dir/foreign"
warns "$dir/foreign.shared has no memory at its end that a job has shared"
[ -e "$dir/foreign" ] || complain "a heap that could not be recovered is gone"
rm "$dir/foreign" "$dir/foreign.shared"
run 0 "$mpirun" --timeout 120 -np 2 "$(dirname "$driver")/alps-mpi-relocate" --warmup 1 \
    --iterations 2 --heap "$dir/foreign" --keep
# shellcheck disable=SC2086 # words
ranks 1 2 $small --recover --heap "$dir/foreign"
warns 'beside the heap lies no journal'
rm "$dir/foreign" "$dir/foreign.shared"

# killed_job: leaves a heap and a journal.
killed_job() {
    start 0 --blocks 500 --kill-interval 3ms --heap "$dir/kept" --keep
    sleep "0.$((RANDOM % 9))"
    kill_ranks '"live_blocks":[1-9][0-9]'
}
for number in 1 2 4; do
    killed_job
    ranks 0 "$number" --recover --heap "$dir/kept" --json "$dir/json-lines"
    says '^RESULT: PASS$'
    equals "jobs taken over" \
        "$(lines '"record":"recovered".*"generations_freed":[1-9].*"blocks_freed":[1-9]' \
            "$dir/json-lines")" 1
    equals "what a recovered job has left" "$(find "$dir" -name 'kept*')" ""
done
killed_job
ranks 1 2 --recover --heap "$dir/kept" --inject-leak
warns '^alps-mpi-crash: rank 0 of 2: block 0x[0-9a-f]+ of 112 bytes .* belongs to nobody$'
[ -e "$dir/kept" ] || complain "a heap in which something is wrong is gone"
rm "$dir/kept" "$dir/kept.shared"

# ---- killed ----

dies_well --blocks 300
equals "heaps at the end" "$(heaps)" "$heaps_before"
verdict

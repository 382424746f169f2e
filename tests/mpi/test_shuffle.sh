#!/usr/bin/env bash
# Tests of alps-mpi-shuffle: its options, results, verdicts, and what it leaves when it is killed.
. "$(dirname "$0")/ranks.sh"

small='--bytes 64K --warmup 1 --iterations 3 --size 256M'

# ---- the command line, without mpirun ----

run 0 "$driver" --help
says '^usage: mpirun \[-np N\] alps-mpi-shuffle \[OPTION\]'
for option in ranks duration record-size bytes chunk keys skew vary emu; do
    says " --$option"
done
while read -r arguments; do
    # shellcheck disable=SC2086 # words
    run 2 "$driver" $arguments
    warns '^alps-mpi-shuffle: .'
done <<'BAD'
--bogus
--record-size 100
--record-size 8
--record-size 64,,128
--skew 1
--skew -0.5
--keys 0
--bytes 0
--chunk 1
BAD

# ---- results ----

# shellcheck disable=SC2086 # words
ranks 0 4 --ranks 1,2,4 --record-size 64,1K --repeat 2 $small --json "$dir/json-lines" \
    --csv "$dir/csv"
says '^RESULT: PASS$'
equals "lines of the table" "$(lines '^ +[124] +1 +(64|1024) ' "$dir/out")" 6
is_json "$dir/json-lines"
equals "repetition records" "$(lines '"record":"repetition"' "$dir/json-lines")" 24
equals "repetitions of 3 rounds" "$(lines '"rounds":3,' "$dir/json-lines")" 24
equals "bytes of a round of 4 ranks" "$(lines '"round_bytes":262144,' "$dir/json-lines")" 8
for way in heap messages; do
    equals "repetitions by $way" "$(lines "\"way\":\"$way\"" "$dir/json-lines")" 12
done
equals "CSV: summaries" "$(lines '^summary,[124],1,(64|1024),' "$dir/csv")" 6
equals "CSV: result" "$(tail -n 1 "$dir/csv")" result,PASS

# Messages take no simulated time: no figure is better than a wrong one.
# shellcheck disable=SC2086 # words
ranks 0 2 $small --record-size 64 --emu cxl-switch --emu-mode virtual --csv "$dir/csv"
equals "simulated messages" "$(lines '^summary,2,1,64,[0-9.]+,[0-9.]+,[0-9.]+,,,,$' "$dir/csv")" 1

# ---- kinds of work ----

while read -r number arguments; do
    # shellcheck disable=SC2086 # words
    ranks 0 "$number" $small $arguments
    says '^RESULT: PASS$'
done <<'GOOD'
1 --record-size 24
3 --skew 0.99 --vary
2 --keys 1
3 --keys 2 --chunk 64
3 --record-size 1M --bytes 4M --chunk 4K --vary
5 --bytes 1K --record-size 1K
2 --record-size 4K --emu optane
GOOD

# ---- what must not pass ----

for number in 1 3; do
    # shellcheck disable=SC2086 # words
    ranks 1 "$number" $small --inject-corruption
    warns '^alps-mpi-shuffle: rank 0 of .: (of|chunk .* of) rank [0-9] '
    says '^RESULT: FAIL$'
done
ranks 1 2 --size 16M --bytes 64M --iterations 2
warns '^alps-mpi-shuffle: rank [01] of 2: no chunk of 65536 bytes: .'

dies_well --bytes 64K
equals "heaps at the end" "$(heaps)" "$heaps_before"
verdict

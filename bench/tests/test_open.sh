#!/usr/bin/env bash
# Tests of alps-bench-open, at a size that proves nothing but that it works. DRIVER is the program.
driver=${DRIVER:?DRIVER names the program}
. "$(dirname "$0")/../../tests/support/program.sh"

run 0 "$driver" --capacities 64M,1T --rounds 2 --block-sizes 16,1000,64K --filled 16M \
    --heap "$dir/heap" --json "$dir/json-lines" --csv "$dir/results.csv"
says '^RESULT: PASS$'
is_json "$dir/json-lines"
equals "capacities" "$(lines '^open,(64|1048576),[1-9][0-9]*(,[0-9]+\.[0-9]){10}$' "$dir/results.csv")" 2
# Blocks of 1000 bytes have 1008; all of a heap's 16 MiB but its management can be had.
for size in 16 1000 65536; do
    line=$(grep "^metadata,$size," "$dir/results.csv")
    IFS=, read -r _ _ blocks heap spans metadata percent <<<"$line"
    checks=$((checks + 1))
    [ "$((blocks * size))" -gt "$((heap * 1024 * 9 / 10))" ] && [ "$spans" -lt "$heap" ] &&
        [ "$metadata" -gt 0 ] && [[ $percent == [0-9].* ]] || complain "what a full heap holds: $line"
done
[ ! -e "$dir/heap" ] || complain "the heap's file is still there"

# A file of 1 TiB's tables is larger than the process may make files: that capacity is left out.
limited() {
    trap '' XFSZ
    ulimit -f 1000000
    "$driver" --heap "$dir/heap" --rounds 1 --block-sizes 64 --filled 16M "$@"
}
run 0 limited --capacities 64M,1T --csv "$dir/results.csv"
warns '^skipped: a capacity of 1048576 MiB: '
equals "capacities" "$(lines '^open,' "$dir/results.csv")" 1

run 1 "$driver" --heap "$dir/absent/heap"
warns '^alps-bench-open: no heap: .*No such file'
says '^RESULT: FAIL$'
run 1 "$driver" --csv "$dir/absent/file"
warns "^alps-bench-open: $dir/absent/file: No such file"
for bad in '--capacities none' '--capacities 1P' '--rounds 0' --bogus; do
    # shellcheck disable=SC2086 # words
    run 2 "$driver" $bad
    warns '^alps-bench-open: .*(none|1P|0|bogus)'
done
run 0 "$driver" --help
says '^usage: alps-bench-open '
verdict

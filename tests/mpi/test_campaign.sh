#!/usr/bin/env bash
# A sample of scripts/mpi-campaign: a job of each mode. DRIVER is alps-mpi-stress, where CMake has
# built it.
driver=${DRIVER:?DRIVER names the program}
. "$(dirname "$0")/../support/program.sh"
build=$(cd "$(dirname "$driver")/.." && pwd)
export TMPDIR=$dir/tmp EMU_BASE_NS=100
mkdir "$TMPDIR"
campaign=$(dirname "$0")/../../scripts/mpi-campaign
out=$dir/results
sample='^(relocate|spin-crash|virtual-large|simulated)'

run 0 "$campaign" --duration 50ms --ranks 8 --only "$sample" "$build" "$out"
equals "jobs that pass" "$(lines ' PASS, [0-9]+ s$' "$dir/out")" 6
equals "ranks in simulated time" \
    "$(sed -n 's/^summary,all-to-all,\([0-9]*\),.*/\1/p' "$out/simulated-scaling.csv" | xargs)" "1 4 8"
for name in relocate relocate-moves spin-crash spin-crash-often virtual-large simulated-scaling; do
    grep -q "$name\.csv" "$out/report.html" || complain "the page has no $name"
done

# It goes on after a failure.
run 1 "$campaign" --duration 1parsec --only '^(large|crash)' "$build" "$out"
equals "jobs that fail" "$(lines "^[a-z-]+ +FAIL, [0-9]+ s: $out/" "$dir/out")" 3
says '^3 jobs failed$'
warns "report: $out: no results"

run 0 "$campaign" --help
says '^usage: mpi-campaign '
for arguments in '' 'one' '--bogus x y' '--duration' 'a b c'; do
    # shellcheck disable=SC2086 # words
    run 2 "$campaign" $arguments
    warns '^usage: mpi-campaign '
done
run 2 "$campaign" --ranks x "$build" "$out"
warns "not a number of ranks: 'x'"
run 1 "$campaign" "$dir/absent" "$out"
warns "^mpi-campaign: $dir/absent/mpi/alps-mpi-stress is not there"
verdict

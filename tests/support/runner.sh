#!/usr/bin/env bash
# Tests of the test runner: RUNNER_CASES is the program made of runner_cases.c.
set -uo pipefail
export LC_ALL=C

dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
export ALPS_TEST_DIR=$dir/heaps
mkdir "$ALPS_TEST_DIR"
failures=0

complain() {
    failures=$((failures + 1))
    echo "line ${BASH_LINENO[1]}: $1"
    sed 's/^/    /' "$dir/out"
}

# runs STATUS ARGUMENT...: the program exits so, and leaves no files.
runs() {
    local wanted=$1 status=0
    shift
    "$RUNNER_CASES" "$@" >"$dir/out" 2>&1 || status=$?
    [ $status -eq "$wanted" ] || complain "$*: exit code $status, not $wanted"
    rmdir "$ALPS_TEST_DIR" && mkdir "$ALPS_TEST_DIR" || complain "$*: files are left"
}

# says REGEX: the last run printed such a line.
says() {
    grep -Eqx -- "$1" "$dir/out" || complain "no line like: $1"
}

ends() {
    [ "$(tail -n 1 "$dir/out")" = "$1" ] || complain "the last line is not: $1"
}

runs 0 'good.*'
says 'seed [0-9]+'
says 'passed  good\.checks_hold \([0-9.]+ s\)'
says "made $ALPS_TEST_DIR/.*"
ends '5 passed, 0 failed, 0 skipped'
left=$(sed -n 's/^left //p' "$dir/out")
kill -0 "$left" 2>/dev/null && complain "the child $left of a case lives on"

runs 1 --seed 7
says 'seed 7'
for case in condition signs order text error no_error child_fails child_lives exit; do
    says "FAILED  bad\.$case \([0-9.]+ s\): exited with [13]; again with --seed 7 bad\.$case"
done
says '.*runner_cases.c:[0-9]+: failed: CHECK\(1 \+ 1 == 3\)'
says '.*: failed: -1 == UINT64_MAX: -1 and 18446744073709551615 \(0xffffffffffffffff\)'
says '.*: failed: 17 < 17: 17 \(0x11\) and 17 \(0x11\)'
says '.*: failed: "one" == "two": "one" and "two"'
says '.*: failed: -ENOMEM gives -12 \(ENOMEM\), not -22 \(EINVAL\)'
says '.*: failed: child [0-9]+ exited with 1'
says '.*: failed: child [0-9]+ exited with 0'
says 'FAILED  bad\.crash .*: was killed by SIGKILL; .*'
says 'FAILED  bad\.hang .*: takes longer than 1 s; .*'
says 'skipped skipped\.because: no luck'
ends '5 passed, 11 failed, 1 skipped'
number=$(grep ^number "$dir/out")

runs 0 --seed 7 good.random_numbers
says "$number"
runs 0 --seed 8 good.random_numbers
grep -qx "$number" "$dir/out" && complain "another seed, the same number"

runs 77 'skipped.*'
ends '0 passed, 0 failed, 1 skipped'
runs 0 --list 'bad.t*'
ends bad.text
runs 2 absent
runs 2 --seed
runs 2 --seed x
runs 2 --bogus

# Told to end, it cleans up.
"$RUNNER_CASES" --timeout 0 bad.hang >"$dir/out" 2>&1 &
until [ -n "$(ls "$ALPS_TEST_DIR")" ]; do sleep 0.05; done
kill -TERM $!
wait $!
status=$?
[ $status -eq 143 ] || complain "SIGTERM: exit code $status, not 143"
[ -z "$(ls "$ALPS_TEST_DIR")" ] || complain "SIGTERM: files are left"

[ $failures -eq 0 ]

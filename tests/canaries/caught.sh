#!/usr/bin/env bash
# caught.sh TEST: succeeds if the test, made with a known mistake, fails; says what caught it.
set -uo pipefail
test=$1
log=$(mktemp)
trap 'rm -f "$log"' EXIT

try() { # CASE [ENVIRONMENT]
    env "${@:2}" "$test" --seed 8 "$1" >"$log" 2>&1
    if [ $? -eq 1 ] && grep -q '^FAILED' "$log"; then
        grep -E 'failed: |was killed at' "$log" | head -2
        grep '^FAILED' "$log"
        exit 0
    fi
}

# What takes the least time comes first.
if grep -q '^power\.' <<<"$("$test" --list)"; then
    try 'power.a_failure_at_the_end*'
    try 'power.a_failure_at_any*' ALPS_POWER_RUNS=60
    try 'power.a_failure_at_any*' ALPS_POWER_RUNS=600
else
    try 'access.a_free*'
    try 'access.killed_at_each_change'
    try 'access.a_b*'
    try 'access.killed_at_each_change_of_a_recovery'
    try 'access.halted*'
    try 'access.killed_at_each_change' ALPS_TEST_EVERY_ACCESS=1
fi
tail -3 "$log"
echo "$(basename "$test") survives: no test has found its mistake"
exit 1

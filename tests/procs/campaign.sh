#!/usr/bin/env bash
# campaign.sh TEST KILLS [SEED]: runs the random kills with one seed after the other until so many
# processes have been killed. The first seed is SEED, or a random one; a failure says which it was.
set -uo pipefail
test=$1 wanted=$2 seed=${3:-$RANDOM} killed=0 runs=0
log=$(mktemp)
trap 'rm -f "$log"' EXIT
while [ "$killed" -lt "$wanted" ]; do
    if ! "$test" --seed "$seed" >"$log" 2>&1; then
        cat "$log"
        echo "failed after $killed kills: $test --seed $seed"
        exit 1
    fi
    kills=$(grep -oE '[0-9]+ kills' "$log" | awk '{ n += $1 } END { print n + 0 }')
    if [ "$kills" -eq 0 ]; then
        echo "no kills are reported by $test"
        exit 1
    fi
    killed=$((killed + kills)) runs=$((runs + 1)) seed=$((seed + 1))
    [ $((runs % 10)) -ne 0 ] || echo "$killed kills so far, $SECONDS s"
done
echo "$killed kills in $runs runs, $SECONDS s: all well"

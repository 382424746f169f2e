#!/usr/bin/env bash
# check.sh CALLS KILLS [MISTAKE]: goes through every state of heap.pml with so many calls and kills.
# Without a mistake no assertion may fail, and nothing may be left out; with one, one must.
set -uo pipefail
calls=$1 kills=$2 mistake=${3:-}
for program in spin gcc; do
    if ! command -v "$program" >/dev/null; then
        echo "skipped protocol: $program is not installed"
        exit 77
    fi
done
model=$(cd "$(dirname "$0")" && pwd)/heap.pml
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
cp "$model" "$scratch/heap.pml" || exit 1
cd "$scratch" || exit 1

flags=(-DOPS="$calls" -DKILLS="$kills" ${mistake:+-D"$mistake"})
if [ -n "$mistake" ] && ! grep -q "def $mistake\$" heap.pml; then
    echo "heap.pml knows no mistake $mistake"
    exit 1
fi
# Better code would take the compiler longer than it saves.
if ! spin -a "${flags[@]}" heap.pml >log 2>&1 ||
    ! gcc -O0 -w -DSAFETY -DCOLLAPSE -DMEMLIM=12000 -o pan pan.c >>log 2>&1; then
    cat log
    exit 1
fi
./pan -m10000 -w25 >log 2>&1
states=$(sed -n 's/^ *\([0-9]*\) states, stored.*/\1/p' log)
if [ -n "$mistake" ]; then
    if grep -q 'assertion violated' log; then
        echo "$mistake is caught after $states states:"
        grep 'assertion violated' log
        exit 0
    fi
    tail -20 log
    echo "$mistake survives $calls calls and $kills kills"
    exit 1
fi
if grep -q 'errors: 0$' log && ! grep -qE 'not completed|max search depth too small' log; then
    echo "$calls calls, $kills kills: $states states, all well"
    exit 0
fi
grep -vE '^unreached|heap.pml:[0-9]+, state' log
[ ! -e heap.pml.trail ] || spin -t -p "${flags[@]}" heap.pml | tail -100
echo "$calls calls, $kills kills: the protocol fails, or was not gone through"
exit 1

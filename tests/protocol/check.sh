#!/usr/bin/env bash
# check.sh MODEL CALLS KILLS [MISTAKE]: goes through every state of MODEL.pml with so many calls and
# kills. Without a mistake no assertion may fail, and nothing may be left out; with one, one must.
set -uo pipefail
name=$1.pml calls=$2 kills=$3 mistake=${4:-}
for program in spin gcc; do
    if ! command -v "$program" >/dev/null; then
        echo "skipped protocol: $program is not installed"
        exit 77
    fi
done
model=$(cd "$(dirname "$0")" && pwd)/$name
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
cp "$model" "$scratch/$name" || exit 1
cd "$scratch" || exit 1

flags=(-DOPS="$calls" -DKILLS="$kills" ${mistake:+-D"$mistake"})
if [ -n "$mistake" ] && ! grep -q "def $mistake\$" "$name"; then
    echo "$name knows no mistake $mistake"
    exit 1
fi
# Better code would take the compiler longer than it saves.
if ! spin -a "${flags[@]}" "$name" >log 2>&1 ||
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
grep -vE '^unreached|\.pml:[0-9]+, state' log
[ ! -e "$name.trail" ] || spin -t -p "${flags[@]}" "$name" | tail -100
echo "$calls calls, $kills kills: the protocol fails, or was not gone through"
exit 1

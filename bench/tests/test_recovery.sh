#!/usr/bin/env bash
# Tests of alps-bench-recovery, at a size that proves nothing but that it works, and of the picture
# of its results. DRIVER is the program.
driver=${DRIVER:?DRIVER names the program}
. "$(dirname "$0")/../../tests/support/program.sh"
picture=$(cd "$(dirname "$0")/../.." && pwd)/plots/recovery.gp

run 0 "$driver" --capacities 1G,64G --blocks 1000,50000 --rounds 1 --json "$dir/json-lines" \
    --csv "$dir/results.csv"
says '^RESULT: PASS$'
is_json "$dir/json-lines"
equals "lines of results" "$(grep -Ec '^recovery,(1024|65536),(1000|50000),' "$dir/results.csv")" 4
run 2 "$driver" --blocks none
warns 'alps-bench-recovery: .*none'

if ! command -v gnuplot >/dev/null; then
    echo "skipped bench.recovery_picture: gnuplot is not installed"
    verdict
fi
run 0 gnuplot -c "$picture" "$dir/results.csv" "$dir/picture"
equals "signature of the PNG" "$(head -c 4 "$dir/picture.png" | tail -c 3)" PNG
for line in '1 GiB' '64 GiB' '5 ns a block'; do
    grep -q "$line" "$dir/picture.svg" || complain "the picture has no line of $line"
done
sed '/^recovery/d' "$dir/results.csv" >"$dir/empty.csv"
run 1 gnuplot -c "$picture" "$dir/empty.csv" "$dir/none"
warns "$dir/empty.csv: holds no results"
run 1 gnuplot -c "$picture" "$dir/absent.csv" "$dir/none"
warns "$dir/absent.csv: no such file"
run 1 gnuplot -c "$picture" "$dir/json-lines" "$dir/none"
warns "$dir/json-lines: not the CSV of one run"
[ ! -e "$dir/none.png" ] || complain "a picture of nothing"
verdict

#!/usr/bin/env bash
# Tests of scripts/stress-demo, which ./run ends with, and of the picture that it draws. DRIVER is
# alps-mpi-stress, where CMake has built it.
driver=${DRIVER:?DRIVER names the program}
. "$(dirname "$0")/../support/program.sh"
top=$(cd "$(dirname "$0")/../.." && pwd)
build=$(cd "$(dirname "$driver")/.." && pwd)
export TMPDIR=$dir/tmp
mkdir "$TMPDIR"
out=$dir/out.d

# is_picture FILE: PNG or SVG with something in it.
is_picture() {
    checks=$((checks + 1))
    case $1 in
    *.png) [ "$(head -c 4 "$1" | tail -c 3)" = PNG ] ;;
    *) grep -q '</svg>' "$1" && grep -q 'million operations' "$1" ;;
    esac || complain "$1 is not a picture"
}

demo=$top/scripts/stress-demo
run 0 "$demo" "$build" "$out" --repeat 2 --iterations 4 --blocks 300
says '^RESULT: PASS$'
says "^Results: $out/stress.txt $out/stress.csv $out/stress.jsonl$"
says "^Picture: $out/throughput.png $out/throughput.svg$"
cp "$out/stress.csv" "$dir/good.csv"
grep -q '^RESULT: PASS$' "$out/stress.txt" || complain "no result in the table"
is_json "$out/stress.jsonl"
for kind in png svg; do
    is_picture "$out/throughput.$kind"
done

run 1 "$demo" "$build" "$out" --repeat 1 --iterations 4 --blocks 300 --inject-corruption
says '^RESULT: FAIL$'
[ ! -e "$out/throughput.png" ] || complain "a picture of a run that failed"
run 0 "$demo" "$build" "$out" --help
says '^usage: mpirun '
run 2 "$demo" "$build"
warns '^usage: stress-demo '
run 1 "$demo" "$dir/absent" "$out"
warns "^stress-demo: $dir/absent/mpi/alps-mpi-stress is not there"

# picture STATUS CSV
picture() {
    rm -f "$dir"/picture.*
    run "$1" gnuplot -c "$top/plots/throughput.gp" "$2" "$dir/picture"
    [ "$1" -eq 0 ] || [ -s "$dir/err" ] || complain "no message"
}
picture 0 "$dir/good.csv"
sed '/^[24],/d' "$dir/good.csv" >"$dir/one rank's.csv"
picture 0 "$dir/one rank's.csv"
is_picture "$dir/picture.png"
sed '/^[124],/d' "$dir/good.csv" >"$dir/empty.csv"
picture 1 "$dir/empty.csv"
warns "$dir/empty.csv: holds no results"
picture 1 "$dir/absent.csv"
warns "$dir/absent.csv: no such file"
picture 1 "$out/stress.txt"
warns "$out/stress.txt: not the CSV of one run"
run 1 gnuplot -c "$top/plots/throughput.gp" "$dir/good.csv"
warns 'usage: gnuplot'

verdict

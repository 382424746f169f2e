#!/usr/bin/env bash
# Tests of scripts/stress-demo, which ./run ends with, and of the pictures and the page that it makes.
# DRIVER is alps-mpi-stress, where CMake has built it.
driver=${DRIVER:?DRIVER names the program}
. "$(dirname "$0")/../support/program.sh"
top=$(cd "$(dirname "$0")/../.." && pwd)
build=$(cd "$(dirname "$driver")/.." && pwd)
export TMPDIR=$dir/tmp
mkdir "$TMPDIR"
out=$dir/out.d

# is_picture FILE [TEXT]: PNG, or SVG with the text in it.
is_picture() {
    checks=$((checks + 1))
    case $1 in
    *.png) [ "$(head -c 4 "$1" | tail -c 3)" = PNG ] ;;
    *) grep -q '</svg>' "$1" && grep -q "$2" "$1" ;;
    esac || complain "$1 is not a picture"
}

demo=$top/scripts/stress-demo
run 0 "$demo" "$build" "$out" --repeat 2 --iterations 4 --blocks 300
says '^RESULT: PASS$'
says "^Results: $out/stress.txt $out/stress.csv $out/stress.jsonl $out/relocate.txt"
says "^Pictures: $out/throughput.png $out/throughput.svg"
says "^All on one page: $out/report.html$"
equals "drivers that are content" "$(lines '^RESULT: PASS$' "$dir/out")" 4
cp "$out/stress.csv" "$dir/good.csv"
grep -q '^RESULT: PASS$' "$out/stress.txt" || complain "no result in the table"
is_json "$out/stress.jsonl"
while read -r name text; do
    is_picture "$out/$name.png"
    is_picture "$out/$name.svg" "$text"
done <<'PICTURES'
throughput million operations
latency all-to-all, malloc
relocate ns an element
timeline killed
shuffle 4 ranks, Alltoallv
PICTURES

# The page needs nothing but itself, and no two of its pictures share a name.
page=$out/report.html
equals "pictures on the page" "$(lines '<figure>' "$page")" 5
equals "names that stand twice" "$(grep -o ' id=["'\''][^"'\'']*' "$page" | sort | uniq -d)" ""
equals "what lies outside of the page" "$(lines '(src|href)=["'\''][^#]' "$page")" 0
for text in alps-mpi-stress alps-mpi-crash 'Machine and options' 'To repeat it' \
    'mpirun -np 4 .*alps-mpi-relocate'; do
    grep -q "$text" "$page" || complain "the page has no $text"
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
sed '/^summary,all-to-all,[24],/d' "$dir/good.csv" >"$dir/one rank's.csv"
picture 0 "$dir/one rank's.csv"
is_picture "$dir/picture.png"
sed '/^summary,/d' "$dir/good.csv" >"$dir/empty.csv"
picture 1 "$dir/empty.csv"
warns "$dir/empty.csv: holds no results"
picture 1 "$dir/absent.csv"
warns "$dir/absent.csv: no such file"
picture 1 "$out/stress.txt"
warns "$out/stress.txt: not the CSV of one run"
run 1 gnuplot -c "$top/plots/throughput.gp" "$dir/good.csv"
warns 'usage: gnuplot'


# ---- every other picture and the page, of results as they should not be ----

report=$top/plots/report
for script in latency relocate timeline shuffle recovery validate bench bench-memory bench-latency; do
    run 1 gnuplot -c "$top/plots/$script.gp" "$dir/absent.csv" "$dir/picture"
    warns "$dir/absent.csv: no such file"
    printf '# program: else\nrecord,a\nb,1\n' >"$dir/other.csv"
    run 1 gnuplot -c "$top/plots/$script.gp" "$dir/other.csv" "$dir/picture"
    warns "$dir/other.csv: not the CSV of one run of"
    run 1 gnuplot -c "$top/plots/$script.gp"
    warns "usage: gnuplot -c $script.gp"
done
run 0 "$report" --help
run 2 "$report"
warns '^usage: report'
run 1 "$report" "$dir/absent"
warns "^report: $dir/absent: No such file"
mkdir "$dir/results of 'mine'"
run 1 "$report" "$dir/results of 'mine'"
warns 'no results'
# A run that was cut off, with a command line that is not HTML.
sed -e '/^result,/d' -e 's/^# command_line: .*/# command_line: a <b> \&c/' "$dir/good.csv" \
    >"$dir/results of 'mine'/stress.csv"
run 0 "$report" "$dir/results of 'mine'" -o "$dir/page.html"
grep -q 'Incomplete: the run was ended' "$dir/page.html" || complain "a cut run looks complete"
grep -q 'a &lt;b&gt; &amp;c' "$dir/page.html" || complain "the command line is not escaped"
sed -i 's/^summary,.*/summary,all-to-all,none,,,,/' "$dir/results of 'mine'/stress.csv"
run 1 "$report" "$dir/results of 'mine'" -o "$dir/page.html"
warns 'no picture by throughput.gp'

verdict

#!/usr/bin/env bash
# Tests of scripts/bench-compare and of the pictures of alps-bench's results. BUILD is the directory
# in which CMake has built the programs.
build=${BUILD:?BUILD names a directory}
. "$(dirname "$0")/../../tests/support/program.sh"
top=$(cd "$(dirname "$0")/../.." && pwd)
compare=$top/scripts/bench-compare
export TMPDIR=$dir/tmp
mkdir "$TMPDIR" "$dir/build" "$dir/build/bench"
out=$dir/out.d

# program NAME SCRIPT: what there is in place of the program.
program() {
    printf '#!/usr/bin/env bash\n%s\n' "$2" >"$dir/build/bench/$1"
    chmod +x "$dir/build/bench/$1"
}

# The run with counters takes place on every machine, if alps-bench does not complain.
program alps-bench "exec '$build/bench/alps-bench' \"\$@\" 2> >(grep -v 'no hardware counters' >&2)"
program alps-bench-recovery "exec '$build/bench/alps-bench-recovery' \"\$@\""
program alps-bench-open "exec '$build/bench/alps-bench-open' \"\$@\""
run 0 "$compare" --quick "$dir/build" "$out"
equals "what is said on stderr" "$(cat "$dir/err")" ""
equals "programs that are content" "$(lines '^RESULT: PASS$' "$dir/out")" 7
says '^17 goals: '
says "^All on one page: $out/report.html$"
for name in threads-1 threads-2 processes-2 processes-4 counters recovery open; do
    is_json "$out/$name.jsonl"
    grep -q '^RESULT: PASS$' "$out/$name.txt" || complain "no result in $name.txt"
    [ -s "$out/$name.csv" ] || complain "no $name.csv"
done
equals "goals" "$(lines '^goal,' "$out/goals.csv")" 17
grep -q '^17 goals' "$out/goals.txt" || complain "no goals in the table"
for name in {threads-1,threads-2,processes-2,processes-4}-bench{,-memory,-latency} recovery; do
    equals "signature of $name.png" "$(head -c 4 "$out/$name.png" | tail -c 3)" PNG
    grep -q '</svg>' "$out/$name.svg" || complain "$name.svg is not complete"
done
while IFS='|' read -r name text; do
    grep -q "$text" "$out/$name.svg" || complain "the picture $name has no $text"
done <<'PICTURES'
threads-1-bench|Speed against mimalloc, one thread
threads-1-bench|xmalloc
threads-2-bench|times as fast as mimalloc
threads-2-bench-memory|Memory held, 2 threads
processes-4-bench|Speed against alps, one thread in each of 4 processes
processes-4-bench-latency|99.9 %
PICTURES

# The page has a picture for each run and for each thing that was measured, and no name twice.
page=$out/report.html
equals "pictures on the page" "$(lines '<figure>' "$page")" 16
equals "names that stand twice" "$(grep -o ' id=["'\''][^"'\'']*' "$page" | sort | uniq -d)" ""
for text in alps-bench-open bench-goals 'not measured' malloc_p999_ns; do
    grep -q "$text" "$page" || complain "the page has no $text"
done
equals "complaints on the page" "$(lines 'class="bad"' "$page")" 0

# ---- a run without counters, one that fails, and wrong usage ----

program alps-bench 'case "$*" in
--list) printf "backends:\n  alps  1\nworkloads:\n" ;;
*--counters*) echo "alps-bench: no hardware counters here: none" >&2 ;;
*) echo RESULT: PASS ;;
esac'
program alps-bench-recovery 'echo RESULT: PASS'
program alps-bench-open 'echo RESULT: FAIL; exit 1'
run 1 "$compare" --quick "$dir/build" "$out"
says '^# no hardware counters here: not counted$'
equals "programs that are content" "$(lines '^RESULT: PASS$' "$dir/out")" 5
[ ! -e "$page" ] || complain "a page of a run that failed"
program alps-bench '[ "$1" = --list ] && exec printf "  alps  1\n"; echo RESULT: FAIL; exit 1'
run 1 "$compare" --quick "$dir/build" "$out"
equals "programs that ran" "$(lines '^RESULT' "$dir/out")" 1
run 0 "$compare" --help
says '^usage: bench-compare '
for arguments in --bogus '--quick a b c' '--quick --bogus'; do
    # shellcheck disable=SC2086 # words
    run 2 "$compare" $arguments
    warns '^usage: bench-compare '
done
run 1 "$compare" "$dir/absent" "$out"
warns "^bench-compare: $dir/absent/bench/alps-bench is not there"

# ---- pictures of other results ----

# picture STATUS SCRIPT CSV
picture() {
    rm -f "$dir"/picture.*
    run "$1" gnuplot -c "$top/plots/$2.gp" "$3" "$dir/picture"
    [ "$1" -ne 0 ] || equals "what gnuplot says" "$(cat "$dir/err")" ""
}
run 0 "$build/bench/alps-bench" --scale 0.001 --rounds 1 --workloads pair,lifo --backends glibc \
    --csv "$dir/glibc's.csv"
picture 0 bench-latency "$dir/glibc's.csv"
grep -q glibc "$dir/picture.svg" || complain "a picture of glibc without it"
picture 1 bench "$dir/glibc's.csv"
warns "glibc's.csv: holds no results"
picture 1 bench-memory "$dir/glibc's.csv"
warns "glibc's.csv: holds no results"
mkdir "$dir/one"
cp "$dir/glibc's.csv" "$dir/one"
run 0 "$top/plots/report" "$dir/one"
equals "pictures of what there is" "$(lines '<figure>' "$dir/one/report.html")" 1
verdict

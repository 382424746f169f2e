#!/usr/bin/env bash
# Tests of scripts/bench-scaling. BUILD is the directory in which CMake has built the programs.
build=${BUILD:?BUILD names a directory}
. "$(dirname "$0")/../../tests/support/program.sh"
top=$(cd "$(dirname "$0")/../.." && pwd)
scaling=$top/scripts/bench-scaling
export TMPDIR=$dir/tmp
mkdir "$TMPDIR" "$dir/bin" "$dir/build" "$dir/build/bench"
out=$dir/out.d

# So many cores there are.
cores() {
    printf '#!/bin/sh\necho %s\n' "$1" >"$dir/bin/nproc"
    chmod +x "$dir/bin/nproc"
}
PATH=$dir/bin:$PATH

cores 3
run 0 "$scaling" --quick "$build" "$out"
equals "what is said on stderr" "$(cat "$dir/err")" ""
equals "programs that are content" "$(lines '^RESULT: PASS$' "$dir/out")" 6
says "^All on one page: $out/report.html$"
for kind in threads processes; do
    for count in 1 2 3; do
        is_json "$out/$kind-$count.jsonl"
        grep -q "^# $kind: $count$" "$out/$kind-$count.csv" || complain "no $kind: $count"
    done
    equals "counts of pair by $kind" "$(grep '^scaling,pair,alps,' "$out/$kind.csv" | cut -d, -f4)" \
        $'1\n2\n3'
    equals "counts of prodcon" "$(grep '^scaling,prodcon,alps,' "$out/$kind.csv" | cut -d, -f4)" 2
    equals "signature of $kind.png" "$(head -c 4 "$out/$kind.png" | tail -c 3)" PNG
    grep -q '</svg>' "$out/$kind.svg" || complain "$kind.svg is not complete"
    grep -q "by number of $kind" "$out/$kind.svg" || complain "no $kind in their picture"
    for text in pair prodcon xmalloc alps; do
        grep -q "$text" "$out/$kind.svg" || complain "the picture of $kind has no $text"
    done
done
equals "complaints on the page" "$(lines 'class="bad"' "$out/report.html")" 0
for text in bench-scaling efficiency; do
    grep -q "$text" "$out/report.html" || complain "the page has no $text"
done

# ---- the arithmetic, by a program whose results are known ----

cat >"$dir/build/bench/alps-bench" <<'PROGRAM'
#!/usr/bin/env bash
if [ "$1" = --list ]; then
    printf 'backends:\n  alps  1\n  boost  1\n  glibc  2\nworkloads:\n'
    exit
fi
count=$2
while [ "$1" != --csv ]; do shift; done
{
    printf '# program: alps-bench\n# command_line: x\n# cpu_model: c\n# cores: 4\n# emulation: off\n'
    echo record,workload,backend,ns_per_pair,mpairs_per_s,ratio
    echo result,pair,alps,10,$((count * 100)),
    echo result,lifo,alps,40,$((count == 4 ? 100 : 100 * count)),
} >"$2"
echo RESULT: PASS
PROGRAM
chmod +x "$dir/build/bench/alps-bench"
cores 4
run 0 "$scaling" "$dir/build" "$out"
equals "lines of pair" "$(grep '^scaling,pair' "$out/threads.csv")" \
    "scaling,pair,alps,1,100,1.000,,10
scaling,pair,alps,2,200,1.000,,10
scaling,pair,alps,4,400,1.000,,10"
says '^lifo +alps +1\.000 +1\.000 +0\.250$'
says '^geometric mean +alps +1\.000 +1\.000 +0\.500$'
[ ! -e "$out/threads-3.csv" ] || complain "results of the run before"

# ---- one that fails, and wrong usage ----

printf '#!/bin/sh\n[ "$1" = --list ] && exec echo "  glibc 2"; echo RESULT: FAIL; exit 1\n' \
    >"$dir/build/bench/alps-bench"
run 1 "$scaling" "$dir/build" "$out"
equals "programs that ran" "$(lines '^RESULT' "$dir/out")" 1
[ ! -e "$out/report.html" ] || complain "a page of a run that failed"
run 0 "$scaling" --help
says '^usage: bench-scaling '
for arguments in --bogus '--quick a b c' '--quick --bogus'; do
    # shellcheck disable=SC2086 # words
    run 2 "$scaling" $arguments
    warns '^usage: bench-scaling '
done
run 1 "$scaling" "$dir/absent" "$out"
warns "^bench-scaling: $dir/absent/bench/alps-bench is not there"
run 1 gnuplot -c "$top/plots/bench-scaling.gp" "$dir/absent.csv" "$dir/picture"
warns 'absent.csv: no such file'
verdict

#!/usr/bin/env bash
# Tests of emu-topology and emu-validate, and of the picture of what the latter measures: that they
# work, not what comes out. TOPOLOGY and VALIDATE are the programs, TOPOLOGIES a directory.
topology=${TOPOLOGY:?TOPOLOGY names the program}
validate=${VALIDATE:?VALIDATE names the program}
. "$(dirname "$0")/../support/program.sh"
picture=$(cd "$(dirname "$0")/../.." && pwd)/plots/validate.gp

run 0 "$topology" --help
says '--far-nodes=LIST|--far-nodes LIST'
run 0 "$topology" --version
says '^emu-topology 0\.'
run 0 "$topology"
says '^ +0 +DRAM '
run 0 "$topology" --json - --far-nodes 0
grep '^{' "$dir/out" >"$dir/lines"
is_json "$dir/lines"
says '"record":"plan","compute":"0","far":"0"'
run 0 "$topology" --far --from "$TOPOLOGIES/two-sockets-cxl.xml"
equals "far nodes" "$(cat "$dir/out")" 1,3
run 0 "$topology" --far --from 'numa:2 core:1 pu:1' --compute 1
equals "far nodes" "$(cat "$dir/out")" 0
run 0 "$topology" --verify 1M
says '^ +0 +256 +256$'
run 0 "$topology" --profiles
says 'cxl-switch +750 '
run 0 "$topology" --profile cxl-switch
says '^\[memory pool\]$'
cp "$dir/out" "$dir/mine.profile"
run 1 "$topology" --profile nothing
warns 'no such profile'
run 1 "$topology" --far-nodes 99
warns 'there is no node 99 to be far'
run 1 "$topology" --from /nowhere.xml
warns '/nowhere\.xml'
run 1 "$topology" --json /nowhere/at/all
warns '/nowhere/at/all'
run 2 "$topology" --from 'numa:1 pu:1' --verify 1M
warns 'for this machine'
run 2 "$topology" --far-nodes x
run 1 env PATH=/nowhere "$topology" --draw "$dir/picture.svg"
warns 'lstopo is not installed'
if command -v lstopo >/dev/null; then
    run 0 "$topology" --from "$TOPOLOGIES/two-sockets.xml" --draw "$dir/picture.svg"
    grep -q '<svg' "$dir/picture.svg" || complain "lstopo drew nothing"
fi

run 0 "$validate" --help
run 2 "$validate" --targets none
warns 'emu-validate: .*none'
run 1 "$validate" --json /nowhere/at/all
warns '/nowhere/at/all'
# Machines that run tests are busy: what is promised may well not be kept here.
timeout 50 "$validate" --anyway --rounds 1 --targets 400,1000 --sizes 16M --rates 2 --loads 0,60 \
    --duration 20ms --csv "$dir/results.csv" --json "$dir/lines" >"$dir/out" 2>"$dir/err"
status=$?
[ $status -le 1 ] || complain "emu-validate: exit code $status"
is_json "$dir/lines"
says '^RESULT: (PASS|FAIL)$'
for test in latency bandwidth loaded virtual sham; do
    grep -q "^validation,$test," "$dir/results.csv" || grep -q "left out: $test" "$dir/err" ||
        complain "no result of $test"
done
says ' virtual .* 0\.00 +0  within'
equals "files left behind" "$(find /tmp -maxdepth 1 -name 'emu-validate.*' -user "$(id -u)" \
    -newer "$dir/mine.profile" | wc -l)" 0

if ! command -v gnuplot >/dev/null; then
    echo "skipped emu.tools_picture: gnuplot is not installed"
    verdict
fi
printf '%s\n' '# program: emu-validate' '# cpu_model: X' '# base_ns: 100' '# rounds: 1' \
    'record,test,series,unit,parameter,asked,got,error_percent,promised_percent,verdict,stolen_ticks' \
    'validation,latency,64 MiB,ns,300,300,301,0.33,3,within,0' \
    'validation,latency,64 MiB,ns,1000,1000,1001,0.1,3,within,0' \
    'validation,bandwidth,2 processes,GB/s,2,2,1.99,-0.5,5,within,0' \
    'validation,loaded,50 % reads,ns,30,672,670,-0.3,,-,0' >"$dir/known.csv"
run 0 gnuplot -c "$picture" "$dir/known.csv" "$dir/picture"
equals "warnings of gnuplot" "$(cat "$dir/err")" ""
equals "signature of the PNG" "$(head -c 4 "$dir/picture.png" | tail -c 3)" PNG
for line in '64 MiB' '2 processes' '50 % reads' 'as asked'; do
    grep -q "$line" "$dir/picture.svg" || complain "the picture has no line of $line"
done
grep -Ev '^validation,' "$dir/known.csv" >"$dir/empty.csv"
run 1 gnuplot -c "$picture" "$dir/empty.csv" "$dir/none"
warns "$dir/empty.csv: holds no results"
run 1 gnuplot -c "$picture" "$dir/absent.csv" "$dir/none"
warns "$dir/absent.csv: no such file"
verdict

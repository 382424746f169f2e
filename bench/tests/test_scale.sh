#!/usr/bin/env bash
# Tests of alps-bench-scale, with few nodes. DRIVER is the program.
driver=${DRIVER:?DRIVER names the program}
picture=$(cd "$(dirname "$0")/../.." && pwd)/plots/scale.gp
. "$(dirname "$0")/../../tests/support/program.sh"

run 0 "$driver" --nodes 1,5,40 --ops 8 --heap "$dir/heap" --json "$dir/first" --csv "$dir/results.csv"
says '^RESULT: PASS$'
is_json "$dir/first"
# One node has no neighbour, and nobody who would miss it.
equals "phases" "$(lines '^phase,[a-z-]+,1,' "$dir/results.csv") $(lines '^phase,[a-z-]+,5,' "$dir/results.csv") $(lines '^phase,[a-z-]+,40,' "$dir/results.csv")" "8 13 13"
# A malloc of a small block is a store that finds its line, and a free another one.
equals "own" "$(lines '^phase,own,(1|5|40),[0-9]+,4\.0,0\.[0-9],0\.00,2\.00,0\.00,0\.00,' "$dir/results.csv")" 3
equals "a generation's number is fetched once" "$(lines '^region,(re)?open,[0-9]+,next_generation,0\.00,0\.00,1\.00,' "$dir/results.csv")" 6
[ ! -e "$dir/heap" ] || complain "the heap's file is still there"

# Again, in another place, with other addresses: to the last digit the same.
run 0 "$driver" --nodes 1,5,40 --ops 8 --json "$dir/second"
equals "the same again" "$(sed 1d "$dir/second" | cksum)" "$(sed 1d "$dir/first" | cksum)"
run 0 "$driver" --nodes 5 --emu machine-fam --csv -
says '^phase,own,5,320,2000\.0,'

# What a process may not have is left out, and said.
few_files() {
    ulimit -n 100
    "$driver" --ops 1 "$@"
}
run 0 few_files --nodes 2,200
warns '^skipped: 200 nodes need 464 open files, and this process may have 100; '
says '^RESULT: PASS$'
run 77 few_files --nodes 200
warns '^skipped: '

if command -v gnuplot >/dev/null; then
    run 0 gnuplot -c "$picture" "$dir/results.csv" "$dir/picture"
    [ -s "$dir/picture.png" ] && [ -s "$dir/picture.svg" ] || complain "no picture"
    run 1 gnuplot -c "$picture" "$dir/absent.csv" "$dir/picture"
fi
run 1 "$driver" --nodes 1 --heap "$dir/absent/heap"
warns '^alps-bench-scale: no heap: .*No such file'
says '^RESULT: FAIL$'
run 1 "$driver" --csv "$dir/absent/file"
warns "^alps-bench-scale: $dir/absent/file: No such file"
for bad in '--nodes none' '--nodes 0' '--nodes 16384' '--ops 0' '--emu nothing' --bogus; do
    # shellcheck disable=SC2086 # words
    run 2 "$driver" $bad
    warns '^alps-bench-scale: .*(none|0|16384|nothing|bogus)'
done
run 0 "$driver" --help
says '^usage: alps-bench-scale '
verdict

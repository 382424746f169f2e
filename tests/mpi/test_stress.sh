#!/usr/bin/env bash
# Tests of alps-mpi-stress: its options, results, verdicts, and what it leaves when it is killed.
. "$(dirname "$0")/ranks.sh"

small='--blocks 300 --warmup 1 --iterations 4 --size 256M'

# ---- the command line, without mpirun ----

run 0 "$driver" --help
says '^usage: mpirun \[-np N\] alps-mpi-stress \[OPTION\]'
for option in ranks duration iterations warmup repeat seed heap size keep json csv blocks min-size \
    max-size large-size remote-frees; do
    says " --$option"
done
run 0 "$driver" --version
says '^alps-mpi-stress [0-9]+\.[0-9]+\.[0-9]+$'
while read -r arguments; do
    # shellcheck disable=SC2086 # words
    run 2 "$driver" $arguments
    warns '^alps-mpi-stress: .'
    warns '^Try alps-mpi-stress --help\.$'
done <<'BAD'
--bogus
argument
--blocks 1
--blocks x
--blocks
--ranks 0
--ranks 1,,2
--min-size 5000 --max-size 4096
--min-size 0
--remote-frees 101
--size 1M
--duration 3parsecs
--repeat 0
--keep --ranks 1,2
BAD

ranks 2 2 --bogus
equals "messages of two ranks" "$(lines '^alps-mpi-stress: ' "$dir/err")" 1
ranks 2 2 --ranks 1,3
warns '^alps-mpi-stress: --ranks 3: there are only 2; start more by mpirun -np$'

# ---- results ----

# shellcheck disable=SC2086 # words
ranks 0 4 --ranks 1,2,4 --repeat 2 $small --json "$dir/json-lines" --csv "$dir/csv"
says '^# workload +ranks +domains +mops_per_s '
says '^RESULT: PASS$'
equals "lines of the table" "$(lines '^  all-to-all +[124] +1 ' "$dir/out")" 3
equals "what is said on stderr" "$(cat "$dir/err")" ""
is_json "$dir/json-lines"
equals "machine records" "$(lines '"record":"machine"' "$dir/json-lines")" 1
equals "repetition records" "$(lines '"record":"repetition"' "$dir/json-lines")" 6
equals "summary records" "$(lines '"record":"summary"' "$dir/json-lines")" 3
for count in 1 2 4; do
    equals "summaries of $count ranks" \
        "$(lines "\"record\":\"summary\",.*\"ranks\":$count,\"domains\":1," "$dir/json-lines")" 1
done
equals "the end of the results" "$(tail -n 1 "$dir/json-lines")" \
    '{"record":"result","verdict":"PASS"}'
equals "the topology in the results" "$(lines '"topology":"node [0-9]+ \(' "$dir/json-lines")" 1
equals "repetitions of 4 rounds" "$(lines '"rounds":4,' "$dir/json-lines")" 6
# What 4 rounds of 150 blocks a rank come to; half of the frees in groups are another rank's.
equals "mallocs of a rank alone" \
    "$(sed -n 's/.*"ranks":1,.*"mallocs":\([0-9]*\),.*/\1/p' "$dir/json-lines" | sort -u)" 600
equals "remote frees of a rank alone" \
    "$(sed -n 's/.*"ranks":1,.*"remote_frees":\([0-9]*\),.*/\1/p' "$dir/json-lines" | sort -u)" 0
remote=$(sed -n 's/.*"ranks":4,.*"remote_frees":\([0-9]*\),.*/\1/p' "$dir/json-lines" | head -1)
checks=$((checks + 1))
if [ "$remote" -lt 1000 ] || [ "$remote" -gt 1400 ]; then
    complain "$remote remote frees of 2400, not about half"
fi
equals "CSV: summaries" "$(lines '^summary,all-to-all,[124],1,' "$dir/csv")" 3
equals "CSV: repetitions" "$(lines '^repetition,all-to-all,[124],1,' "$dir/csv")" 6
equals "CSV: headers" "$(lines '^record,workload,ranks,domains,mops_per_s,mops_min,' "$dir/csv")" 3
equals "CSV: result" "$(tail -n 1 "$dir/csv")" result,PASS
checks=$((checks + 1))
awk -F, '/^latency,/ { at = $2 "," $3 "," $4
        if (at == last && ($5 <= quantile || $6 < ns)) { wrong = 1 }
        last = at; quantile = $5; ns = $6; count++ }
    END { exit wrong || count < 60 }' "$dir/csv" || complain "latencies do not rise"

ranks 0 3 --duration 50ms --blocks 100 --json "$dir/json-lines"
equals "all ranks by default" "$(lines '"record":"summary",.*"ranks":3,' "$dir/json-lines")" 1

# The same seed, the same work.
work() {
    # shellcheck disable=SC2086 # words
    ranks 0 2 $small --seed "$1" --json "$dir/json-lines"
    sed -n 's/.*"verified_bytes":\([0-9]*\).*/\1/p' "$dir/json-lines"
}
seven=$(work 7)
equals "work by the seed" "$(work 7)" "$seven"
[ "$(work 8)" != "$seven" ] || complain "another seed, the same work"

# ---- kinds of work ----

while read -r number arguments; do
    # shellcheck disable=SC2086 # words
    ranks 0 "$number" --warmup 2 --iterations 6 $arguments
    says '^RESULT: PASS$'
done <<'GOOD'
2 --blocks 500 --remote-frees 0
3 --blocks 500 --remote-frees 100
2 --blocks 2
4 --blocks 3
2 --blocks 2000 --min-size 1 --max-size 1
2 --blocks 100 --min-size 64K --max-size 64K
3 --blocks 20 --min-size 1M --max-size 8M --large-size 40M
2 --blocks 2000 --min-size 16 --max-size 200K --large-size 10M
GOOD

# Who frees what: in three rounds and the one before, 150 blocks a rank.
workload() {
    # shellcheck disable=SC2086 # words
    ranks 0 "$2" $small --workload "$1" --json "$dir/json-lines"
    sed -n 's/.*"record":"repetition".*"mallocs":\([0-9]*\),"frees":\([0-9]*\),"remote_frees":\([0-9]*\),.*/\1 \2 \3/p' \
        "$dir/json-lines"
}
equals "private" "$(workload private 3)" "1800 1800 0"
equals "neighbour" "$(workload neighbour 3)" "1800 1800 1800"
equals "pairs, one rank of three without a partner" "$(workload pairs 3)" "1200 1200 600"
equals "large" "$(workload large 2 | wc -l)" 1
# shellcheck disable=SC2086 # words
ranks 0 2 $small --workload all-to-all,private,neighbour,pairs,large --ranks 1,2
equals "lines of five workloads" "$(lines '^  [a-z-]+ +[12] +1 ' "$dir/out")" 10

# ---- sizes from a file ----

printf '# small ones\n64 10\n\n1K-4K 3 # some\n' >"$dir/sizes"
# shellcheck disable=SC2086 # words
ranks 0 2 $small --sizes "$dir/sizes"
while IFS='|' read -r text problem; do
    printf '%b' "$text" >"$dir/sizes"
    run 2 "$driver" --sizes "$dir/sizes"
    warns "^alps-mpi-stress: .*$dir/sizes.*$problem"
done <<'BAD'
64|1: SIZE WEIGHT or SIZE-SIZE WEIGHT is wanted
64 1 1|1: SIZE WEIGHT or SIZE-SIZE WEIGHT is wanted
\n4K-1K 1|2: sizes are at least 1
0 1|1: sizes are at least 1
64 0|1: a weight is
x 1|1: not a size
64 y|1: not a number
# nothing|no sizes in it
BAD
run 2 "$driver" --sizes "$dir/absent"
warns "--sizes $dir/absent: No such file or directory"

# ---- node hints ----

run 2 "$driver" --hints own
warns '--hints needs --nodes'
for hints in own mixed; do
    # shellcheck disable=SC2086 # words
    ranks 0 2 $small --nodes 0 --hints $hints --json "$dir/json-lines"
    equals "blocks on node 0 with $hints" \
        "$(sed -n 's/.*"hinted":\([0-9]*\),"placed":\([0-9]*\),.*/\1 \2/p' "$dir/json-lines")" \
        "1200 1200"
done
# shellcheck disable=SC2086 # words
ranks 1 2 $small --nodes 63
warns 'cannot create the heap: .*63'

# ---- emulated memory ----

emulated='--blocks 300 --warmup 1 --iterations 4 --emu cxl-switch --json'
# shellcheck disable=SC2086 # words
ranks 0 2 $emulated "$dir/json-lines" --emu-mode virtual
equals "what was emulated" "$(lines '"emulation":"virtual cxl-switch"' "$dir/json-lines")" 1
# A free of another's block fetches a line over the switch, 750 ns; nothing here has such clocks.
checks=$((checks + 1))
slow=$(sed -n 's/.*"record":"repetition".*"free_p99_ns":\([0-9]*\),.*/\1/p' "$dir/json-lines")
[ "$slow" -ge 750 ] || complain "frees take $slow ns on the emulated machine"
if ! grep -q '"cores":1,' "$dir/json-lines"; then
    run 0 "$mpirun" --timeout 120 -np 1 "$driver" $emulated "$dir/json-lines" --emu-mode virtual
    equals "simulated time of one rank" "$(grep -v machine "$dir/json-lines" | cksum)" \
        "$("$mpirun" -np 1 "$driver" $emulated - --emu-mode virtual 2>&1 |
            grep -E '^\{' | grep -v machine | cksum)"
fi
# shellcheck disable=SC2086 # words
run 0 "$mpirun" --timeout 120 -np 1 "$driver" $emulated "$dir/json-lines"
equals "what was emulated" "$(lines '"emulation":"spin cxl-switch"' "$dir/json-lines")" 1
while IFS='|' read -r arguments problem; do
    # shellcheck disable=SC2086 # words
    run 2 "$driver" $arguments
    warns "^alps-mpi-stress: .*$problem"
done <<'BAD'
--emu cxl|--emu cxl: no such profile
--emu ./absent.profile|--emu ./absent.profile: No such file or directory
--emu-mode virtual|--emu-mode virtual needs --emu
--emu-mode numa --emu optane|takes no --emu
--emu-mode real|--emu-mode real
BAD
echo nonsense >"$dir/bad.profile"
ranks 1 2 --emu "$dir/bad.profile" --iterations 2
warns "cannot emulate: $dir/bad.profile:1:"

# ---- what must not pass ----

for number in 1 3; do
    # shellcheck disable=SC2086 # words
    ranks 1 "$number" $small --inject-corruption
    warns '^alps-mpi-stress: rank [0-9] of .: block 0x[0-9a-f]+ of rank .* byte [0-9]+ is wrong, 0x'
    says '^RESULT: FAIL$'
done
ranks 1 2 --size 16M --blocks 10000 --iterations 4
warns '^alps-mpi-stress: rank [01] of 2: no block of [0-9]+ bytes: .'
says '^RESULT: FAIL$'

echo precious >"$dir/file"
# shellcheck disable=SC2086 # words
ranks 1 2 $small --heap "$dir/file"
warns "cannot create the heap: .*$dir/file"
equals "a file that was there" "$(cat "$dir/file")" precious
# shellcheck disable=SC2086 # words
ranks 1 2 $small --heap "$dir/absent/heap"
warns "cannot create the heap: .*$dir/absent/heap"
# shellcheck disable=SC2086 # words
ranks 1 1 $small --json "$dir/absent/json"
warns "^alps-mpi-stress: $dir/absent/json: No such file or directory$"
if [ -c /dev/full ]; then
    # shellcheck disable=SC2086 # words
    ranks 1 1 $small --csv /dev/full
    warns 'not all results could be written'
    says '^RESULT: FAIL$'
fi

# ---- the heap's file ----

# shellcheck disable=SC2086 # words
ranks 0 2 $small --heap "$dir/heap"
[ ! -e "$dir/heap" ] || complain "the heap is still there"
# shellcheck disable=SC2086 # words
ranks 0 2 $small --heap "$dir/heap" --keep
says "^# kept: $dir/heap$"
run 0 "$tool" check "$dir/heap"
run 0 "$tool" stat --json "$dir/heap"
equals "blocks in a kept heap" "$(field live_blocks)" 0

# ---- killed ----

dies_well --blocks 1000

# A heap that is to be kept outlives all ranks. Each has a thousand blocks once it works.
start 0 --blocks 1000 --heap "$dir/kept" --keep
kill_ranks '"live_blocks":[3-9][0-9]\{3\},.*"instances":3'
run 0 "$tool" recover --json "$dir/kept"
equals "ranks recovered" "$(field recovered)" 3
run 0 "$tool" check "$dir/kept"
run 0 "$tool" bulk-free --generation 1-3 "$dir/kept"
run 0 "$tool" stat --json "$dir/kept"
equals "blocks of dead ranks" "$(field live_blocks)" 0
run 0 "$tool" destroy --yes "$dir/kept"

equals "heaps at the end" "$(heaps)" "$heaps_before"
verdict

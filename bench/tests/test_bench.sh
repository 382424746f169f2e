#!/usr/bin/env bash
# Tests of alps-bench and of the recorder of traces, at a size that proves nothing but that they
# work. BENCH, RECORDER, HOARDS, ALLOCATES and TRACES name them, a file system, a program to record, and
# the traces that come with them.
. "$(dirname "$0")/../../tests/support/program.sh"
small='--scale 0.005 --rounds 2 --heap-size 256M'

# ---- every backend on every workload ----

run 0 "$BENCH" --list
workloads=$(sed '1,/^workloads/d' "$dir/out" | wc -l)
equals "workloads in the list" "$workloads" 21
all=$(sed -n '/^backends/,/^workloads/s/^  \([^ ]*\) .*/\1/p' "$dir/out")

# Starting libpmemobj takes long, so not in every way.
while read -r arguments; do
    backends=$all
    [ "$arguments" = '--threads 1' ] || backends=$(grep -v libpmemobj <<<"$all")
    # shellcheck disable=SC2086 # words
    run 0 "$BENCH" $small $arguments --backends "$(paste -sd , <<<"$backends")" \
        --json "$dir/json-lines" --csv "$dir/csv"
    says '^RESULT: PASS$'
    is_json "$dir/json-lines"
    equals "what is said on stderr" "$(cat "$dir/err")" ""
    for backend in $backends; do
        wanted=$workloads
        case $arguments:$backend in
        --processes*:alps* | --processes*:boost) ;;
        --processes*) wanted=$((workloads - 5)) ;; # without those that pass blocks between processes
        esac
        equals "$arguments: results of $backend" \
            "$(lines "^result,[a-z0-9-]+,$backend,[0-9]" "$dir/csv")" "$wanted"
    done
    equals "lines with ratios" "$(lines '^summary,[a-z0-9-]+,' "$dir/csv")" $((workloads + 1))
done <<'WAYS'
--threads 1
--threads 2
--processes 2
WAYS

# Pairs of threads within each process need no heap that processes share.
# shellcheck disable=SC2086 # words
run 0 "$BENCH" $small --processes 2 --threads 2 --workloads pair,prodcon,xmalloc \
    --backends alps,glibc --csv "$dir/csv"
equals "threads of all processes" "$(lines '^result,(pair|prodcon|xmalloc),alps,.*,2,4,' "$dir/csv")" 3
equals "backends with prodcon" "$(lines '^result,prodcon,' "$dir/csv")" 2
equals "backends with xmalloc" "$(lines '^result,xmalloc,' "$dir/csv")" 1

# Blocks that one gives to more than two are all freed.
# shellcheck disable=SC2086 # words
run 0 "$BENCH" $small --processes 4 --workloads cache-scratch,xmalloc,rptest,mstress \
    --backends alps,alps-to

# What is live and what is held: all of threadtest's 100,000 blocks of 64 bytes, and not much more.
weigh() {
    run 0 "$BENCH" --rounds 1 --backends alps --workloads threadtest --csv "$dir/csv"
    live=$(sed -n 's/^result,threadtest,alps,//p' "$dir/csv" | cut -d, -f 14)
    held=$(sed -n 's/^result,threadtest,alps,//p' "$dir/csv" | cut -d, -f 15)
    checks=$((checks + 1))
    [ "$live" -gt 6000000 ] && [ "$live" -le 6400000 ] && [ "$held" -gt "$1" ] &&
        [ "$held" -lt "$2" ] || complain "threadtest: $live bytes are live, $held are held"
}
weigh 6400000 12000000

# ---- what must not pass ----

run 1 "$BENCH" --scale 0.01 --rounds 1 --backends alps --workloads lifo --inject-corruption
warns '^alps-bench: alps: lifo: thread 0, block 999, 64 bytes: byte 0 is not what was written there$'
says '^RESULT: FAIL$'
run 1 "$BENCH" --scale 0.01 --rounds 1 --backends alps --workloads large --heap-size 16M
warns '^alps-bench: alps: large: .*no memory$'
run 1 "$BENCH" --heap "$dir/absent/heap" --rounds 1 --backends alps --workloads pair
warns '^alps-bench: alps: pair: cannot create the heap: '
run 1 "$BENCH" --json "$dir/absent/file"
warns "^alps-bench: $dir/absent/file: No such file or directory$"
while IFS='|' read -r arguments problem; do
    # shellcheck disable=SC2086 # words
    run 2 "$BENCH" $arguments
    warns "^alps-bench: $problem"
done <<'BAD'
--bogus|.*--bogus
--threads 0|--threads 0
--processes 65|--processes 65
--scale 0|--scale must be more than 0
--backends alps --reference glibc|--reference must be among --backends
--workloads nonesuch|.*nonesuch
--trace /nowhere|/nowhere: No such file
--emu nonesuch|--emu nonesuch: no such profile
--emu ./nonesuch|--emu ./nonesuch: No such file
--emu cxl-switch --backends alps,glibc|--emu takes the backend alps, or alps-to, alone
--emu cxl-switch --backends alps,alps-to|--emu takes the backend alps, or alps-to, alone
--emu cxl-switch --backends alps-calls|--emu takes the backend alps, or alps-to, alone
--emu cxl-switch --reference alps|--emu counts .*takes no .*--reference
--emu cxl-switch --clock cpu|--emu counts .*takes no --clock
--emu cxl-switch --counters|--emu counts .*takes no .*--counters
--emu cxl-switch --limit 1s|--emu counts .*takes no .*--limit
BAD

# ---- traces ----

bad_trace() {
    printf '%b' "$1" >"$dir/trace"
    run 2 "$BENCH" --workloads trace --trace "$dir/trace"
    warns "^alps-bench: $dir/trace:$2$"
}
bad_trace '' '0: no blocks in it'
bad_trace '# nothing\n' '1: no blocks in it'
bad_trace '+ 1\nx 2\n' '2: a line begins with \+, -, = or #'
bad_trace '+ 1\n- 1\n' '2: there is no such block yet'
bad_trace '+ 1\n- 0\n- 0\n' '3: the block was freed before'
bad_trace '+ 1\n= 0\n' '2: = BLOCK SIZE is wanted'
bad_trace '+ x\n' '1: \+ SIZE is wanted'
bad_trace '+ 1 2\n' '1: \+ SIZE is wanted'
bad_trace '+ 4294967296\n' '1: the block is too large'
bad_trace "- $(printf '%0200d' 0)\n" '1: the line is too long'

for trace in "$TRACES"/*.trace; do
    run 0 "$BENCH" --scale 0.02 --rounds 1 --backends alps --workloads trace --trace "$trace"
done

if [ -z "$RECORDER" ]; then
    echo "a sanitized build: nothing is preloaded or emulated"
    verdict
fi

# What the heap's file has counts, though nobody has touched it.
LD_PRELOAD=$HOARDS weigh 12000000 20000000

# A program's calls are recorded in order, those of its threads too, and those of its children not.
export ALPS_TRACE=$dir/recorded
LD_PRELOAD=$RECORDER "$ALLOCATES" >"$dir/out" 2>"$dir/err" || complain "a recorded program fails"
unset ALPS_TRACE
equals "what the recorder says" "$(cat "$dir/err")" ""
equals "the first line" "$(head -n 1 "$dir/recorded")" "# alps-trace 1"
for line in '\+ 12345' '= [0-9]+ 23456' '= [0-9]+ 345' '\+ 4444' '\+ 5555' '\+ 6666'; do
    equals "lines like $line" "$(lines "^$line$" "$dir/recorded")" 1
done
equals "what the child allocates" "$(lines '7777' "$dir/recorded")" 0
equals "blocks of the threads" "$(lines '^\+ 888$' "$dir/recorded")" 4000
run 0 "$BENCH" --scale 0.02 --rounds 1 --backends alps --workloads trace --trace "$dir/recorded"
# With numbers in place of the blocks, the frees name what was allocated: nothing is left of these.
perl -ne 'if (/^\+ (\d+)/) { $size[$n++] = $1 }
    elsif (/^= (\d+) (\d+)/) { $size[$1] = 0; $size[$n++] = $2 }
    elsif (/^- (\d+)/) { $size[$1] = 0 }
    END { print join(" ", grep { /^(345|4444|5555|6666|888)$/ } @size), "\n" }' \
    "$dir/recorded" >"$dir/left"
equals "blocks that were not freed" "$(cat "$dir/left")" ""

LD_PRELOAD=$RECORDER "$ALLOCATES" >"$dir/out" 2>"$dir/err" || complain "it fails without a trace"
warns '^libalps-trace: ALPS_TRACE is not set: '
ALPS_TRACE=$dir/absent/trace LD_PRELOAD=$RECORDER "$ALLOCATES" >"$dir/out" 2>"$dir/err" ||
    complain "it fails without a trace"
warns "^libalps-trace: $dir/absent/trace: No such file or directory$"

# ---- emulated memory ----

# emulated FILE ARGUMENTS...: a run whose CSV goes to the file.
emulated() {
    local file=$1
    shift
    run 0 "$BENCH" --emu "$@" --csv "$file"
    says '^RESULT: PASS$'
    equals "what is said on stderr" "$(cat "$dir/err")" ""
}
# rows FILE [WORKLOAD]: what was counted, without the workloads of several threads, at a time or one
# after the other: they meet differently each time.
rows() {
    grep -E "^emulated,${2:-}" "$1" | grep -vE ',(prodcon|larson|mstress),'
}
# counts FILE WORKLOAD COLUMN LEAST MOST: a figure is in these bounds.
counts() {
    checks=$((checks + 1))
    awk -F , -v workload="$2" -v column="$3" -v least="$4" -v most="$5" '
        $1 == "record" { for (i in head) delete head[i]; for (i = 1; i <= NF; i++) head[$i] = i }
        $1 == "emulated" && $2 == workload {
            found++
            value = $head[column]
            good += value >= least && value <= most
        }
        END { print value; exit found != 1 || good != 1 }' "$1" >"$dir/value" ||
        complain "$2: $3 of a pair: $(cat "$dir/value"), not in $4..$5"
}

# The same figures in each run, whatever else ran before, and in all forms.
# shellcheck disable=SC2086 # words
emulated "$dir/csv" cxl-switch $small --json "$dir/json-lines"
says '^# emulation: virtual cxl-switch, '
says '^# workload +pairs +reads +read_misses +writes '
is_json "$dir/json-lines"
equals "rows" "$(lines '^emulated,[a-z0-9-]+,[0-9]+,' "$dir/csv")" "$workloads"
equals "objects" "$(lines '"record":"emulated","workload":' "$dir/json-lines")" "$workloads"
equals "results in time" "$(lines '^(result|summary),' "$dir/csv")" 0
# shellcheck disable=SC2086
emulated "$dir/again" cxl-switch $small --backends alps
equals "figures of a second run" "$(rows "$dir/again")" "$(rows "$dir/csv")"
# shellcheck disable=SC2086
emulated "$dir/again" cxl-switch $small --workloads mixed
equals "figures of a workload alone" "$(rows "$dir/again")" "$(rows "$dir/csv" mixed,)"

# No fast path reads: a pair is two stores. A slab of some 1,000 blocks that comes and goes costs a
# hundred reads, most of them of its bitmaps, and a few CAS.
emulated "$dir/csv" cxl-switch --scale 0.1 --rounds 3 \
    --workloads pair,lifo,fifo,random,threadtest,prodcon
for workload in pair lifo fifo random threadtest; do
    counts "$dir/csv" "$workload" reads 0 0.2
    counts "$dir/csv" "$workload" writes 1.99 2.2
    counts "$dir/csv" "$workload" atomics 0 0.01
done
# Whoever frees another's block looks whose it is, and takes its slab over, or changes the bitmap by
# CAS.
counts "$dir/csv" prodcon reads 0.01 20
counts "$dir/csv" prodcon atomics 0.001 3

# Calls that leave no block without a pointer say first what they are about to do, and clear the pointer
# and free the block by a CAS each.
emulated "$dir/csv" cxl-switch --scale 0.1 --rounds 3 --workloads pair --backends alps-to
counts "$dir/csv" pair reads 1 15
counts "$dir/csv" pair writes 6 13
counts "$dir/csv" pair atomics 2 2.1

# Where the others are processes nobody can take it over; with a profile of one's own: accesses of all
# are there.
cat >"$dir/own.profile" <<'PROFILE'
coherent = no
[memory far]
read = 300 ns
PROFILE
emulated "$dir/csv" "$dir/own.profile" --processes 2 --scale 0.1 --rounds 3 --workloads pair,prodcon
while read -r column value; do
    counts "$dir/csv" pair "$column" "$value" "$value"
done <<'PAIR'
reads 0
writes 2
write_misses 2
atomics 0
link_bytes 128
virtual_ns 600
PAIR
counts "$dir/csv" prodcon reads 1 20
counts "$dir/csv" prodcon atomics 0.9 3

# What a profile lacks shows when it is read.
run 2 "$BENCH" --emu sham
warns '^alps-bench: profile sham: memory own has no latency of its own'
echo 'nonsense = 1' >>"$dir/own.profile"
run 2 "$BENCH" --emu "$dir/own.profile"
warns "^alps-bench: $dir/own.profile:4:1: "
# A round that is not timed still checks every byte.
run 1 "$BENCH" --emu cxl-switch --scale 0.01 --rounds 1 --workloads lifo --inject-corruption
warns '^alps-bench: alps: lifo: .*is not what was written there$'
verdict

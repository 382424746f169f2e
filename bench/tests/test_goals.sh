#!/usr/bin/env bash
# Tests of scripts/bench-goals on results made up here.
. "$(dirname "$0")/../../tests/support/program.sh"
goals=$(cd "$(dirname "$0")/../.." && pwd)/scripts/bench-goals
peers='mimalloc glibc jemalloc tcmalloc libpmemobj memkind boost'

# bench NAME REFERENCE THREADS RATIO NS P999 HELD: results of alps-bench, in which all peers are
# alike, and ALPS has these figures.
bench() {
    local workload backend threads
    printf '# program: alps-bench\n# reference: %s\n' "$2" >"$results/$1.csv"
    echo record,workload,backend,ns_per_pair,ratio,malloc_p999_ns,held_per_live,threads
    for workload in lifo larson mixed mstress prodcon xmalloc; do
        threads=$3
        # Works by pairs of threads, so it is none of one thread's.
        [ "$workload" != prodcon ] || threads=2
        for backend in alps $peers; do
            case $1:$workload:$backend in
            processes-?:prodcon:libpmemobj | processes-?:prodcon:memkind) ;;
            *:alps) echo "result,$workload,alps,$5,$4,$6,$7,$threads" ;;
            *) echo "result,$workload,$backend,100.00,1.000,200,1.40,$threads" ;;
            esac
        done
    done
    printf '\nrecord,ratio,alps\nsummary,geomean,1.00\n'
}
# results RATIO NS P999 HELD OPEN_US METADATA
results() {
    local count
    results=$dir/results
    rm -rf "$results"
    mkdir "$results"
    for count in 1 2; do
        bench "threads-$count" mimalloc "$count" "$1" "$2" "$3" "$4" >>"$results/threads-$count.csv"
    done
    for count in 2 4; do
        bench "processes-$count" alps "$count" "$1" "$2" "$3" "$4" >>"$results/processes-$count.csv"
    done
    cat >"$results/open.csv" <<OPEN
# program: alps-bench-open
record,capacity_mib,both_us
open,1024,1.0
open,1048576,$5
open,16777216,99999.0

record,block_bytes,metadata_percent
metadata,16,1.000
metadata,64,$6
OPEN
}
# compares MET NOT_MET NOT_MEASURED
compares() {
    run 0 "$goals" "$results"
    says "^17 goals: $1 met, $2 not met, $3 not measured$"
    equals "lines of goals.csv" "$(lines '^goal,' "$results/goals.csv")" 17
}

results 1.310 10.00 200 1.30 1000.0 2.500
compares 17 0 0
says '^threads-1: speed / mimalloc, geometric mean +>= 1.3 +1\.31  met +5 workloads$'
says '^processes-4: speed / fastest in a file, least +>= 10 +10\.00  met '
results 0.899 10.01 201 1.41 1000.1 2.501
compares 0 17 0
says '^metadata.* not met +64 bytes$'

# good EDIT FILE: with one edit of a file, else all is good.
good() {
    results 1.600 9.00 100 1.20 900.0 2.400
    sed -i "$1" "$results/$2.csv"
}
# One thing is worse.
while IFS='|' read -r edit file goal; do
    good "$edit" "$file"
    compares 16 1 0
    says "^$goal.* not met "
done <<'WORSE'
s/^\(result,prodcon,alps,[^,]*\),1.600/\1,0.950/|threads-2|threads-2: speed / mimalloc, frees by others
s/^\(result,larson,glibc,[^,]*\),1.000/\1,1.800/|threads-2|threads-2: speed / fastest, least
s/^\(result,mixed,alps,.*\),1.20,/\1,1.31,/|threads-1|threads-1: bytes held / live
s/^\(result,mstress,alps,.*\),1.20,/\1,1.41,/|threads-2|threads-2: bytes held / mimalloc
s/^result,xmalloc,alps,9.00,1.600,100/result,xmalloc,alps,9.00,1.600,201/|threads-1|threads-1: p99.9
s/^result,prodcon,boost,100.00/result,prodcon,boost,80.00/|processes-2|processes-2: speed
WORSE
good 's/^\(result,lifo,alps,[^,]*\),1.600/\1,0.890/' threads-1
compares 15 2 0
says '^threads-1: speed / mimalloc, least +>= 0.9 +0.89  not met +lifo$'
says '^threads-1: speed / fastest, least +>= 0.9 +0.89  not met +lifo$'
# What pairs of threads did is no figure of one thread.
good 's/^result,prodcon,alps,9.00,1.600,100,1.20/result,prodcon,alps,9.00,0.100,999,9.00/' threads-1
compares 17 0 0

# Something is missing. A peer that cannot do a workload is not.
while IFS='|' read -r edit file count reason; do
    good "$edit" "$file"
    compares "$((17 - count))" 0 "$count"
    says " not measured +$reason$"
done <<'MISSING'
/,tcmalloc,/d|threads-1|1|no tcmalloc in [a-z]+
/,mimalloc,/d|threads-1|5|no mimalloc in [a-z]+
/mixed,alps,/s/1.20//|threads-2|1|threads-2.csv: line 20: no held_per_live
/^result,/d|threads-2|7|no results in threads-2.csv
s/reference: .*/reference: glibc/|threads-2|7|its reference is not mimalloc
/,boost,/d|processes-4|1|no boost in any workload
/lifo,alps,/d|processes-4|1|no alps in lifo
/^open,1048576/d|open|1|no capacity of 1 TiB
/^metadata/d|open|1|no metadata in open.csv
MISSING
good '' open
rm "$results/open.csv" "$results/threads-2.csv"
compares 8 0 9
says ' not measured +there is no open.csv$'
mkdir "$dir/nothing"
run 0 "$goals" "$dir/nothing"
says '^17 goals: 0 met, 0 not met, 17 not measured$'

# Files that are not what they should be.
while IFS='|' read -r edit file problem; do
    good "$edit" "$file"
    run 1 "$goals" "$results"
    warns "^bench-goals: $results/$file.csv: $problem$"
done <<'MALFORMED'
1d|threads-1|not the CSV of alps-bench
s/alps-bench/alps-mpi-stress/|threads-1|not the CSV of alps-bench
s/^\(result,mixed,alps,9\).*/\1/|threads-2|line 20: not as many values as columns
s/^result,mixed,alps,9.00,1.600/result,mixed,alps,9.00,fast/|threads-2|line 20: ratio is not a number: fast
s/^\(record,workload,.*\),ratio,/\1,speed,/|threads-1|line [0-9]+: there is no column ratio
s/900.0/-1/|open|line 4: both_us is not a number: -1
MALFORMED
run 1 "$goals" "$dir/absent"
warns "^bench-goals: $dir/absent: no such directory$"
run 2 "$goals"
warns '^usage: bench-goals DIR$'
verdict

#!/usr/bin/env bash
# Usage: run.sh EXAMPLE PROGRAM
#
# Runs an example on a heap of its own and looks at what it says.
set -euo pipefail

example=$1
program=$2
dir=$(mktemp -d /dev/shm/alps-example.XXXXXX)
trap 'rm -rf "$dir"' EXIT
heap=$dir/heap

# says TEXT COMMAND...: the command succeeds and says this, in a line of its own.
says() {
    local wanted=$1 said
    shift
    said=$("$@")
    echo "$said"
    grep -qxF -- "$wanted" <<<"$said" || { echo "$*: it does not say: $wanted"; exit 1; }
}

case $example in
counters) says '400000 words counted by 4 processes' "$program" "$heap" 4 ;;
crash)
    says '1 died and left 1001 blocks' "$program" "$heap"
    ;;
numa) says 'a block for node 0 is on node 0' "$program" "$heap" 0 ;;
mpi)
    if [ "$(id -u)" -eq 0 ]; then # in containers, where there is nobody else
        export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
    fi
    says '3 ranks: the sum is right' mpirun --oversubscribe -np 3 "$program" "$heap"
    ;;
kv)
    "$program" "$heap" put colour blue
    says blue "$program" "$heap" get colour
    "$program" "$heap" put colour green
    says green "$program" "$heap" get colour

    # Two writers, of which each is killed now and then, and a reader beside them.
    for writer in 1 2; do
        for round in {1..100}; do
            "$program" "$heap" put colour "green $writer.$round" &
            [ $((round % 5)) -ne 0 ] || kill -KILL $! 2>/dev/null || true
            wait $! || true
        done &
    done 2>/dev/null
    for round in {1..200}; do
        said=$("$program" "$heap" get colour)
        [[ $said == green* ]] || { echo "a reader sees '$said'"; exit 1; }
    done
    wait
    "$program" "$heap" put colour red
    says red "$program" "$heap" get colour
    "$program" "$heap" delete colour
    ! "$program" "$heap" get colour || { echo "what was deleted is there"; exit 1; }
    ;;
containers)
    "$program" "$heap" build
    says 'the best: 6' "$program" "$heap" show
    says 'shown by another process, which allocates as well' "$program" "$heap" show
    says '0 blocks are left' "$program" "$heap" end
    ;;
*)
    echo "run.sh: no example $example"
    exit 2
    ;;
esac

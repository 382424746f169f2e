#!/usr/bin/env bash
# Tests of the drivers on several hosts, which mpi/fake-hosts makes of this one: with memory that
# all share they are one domain, with memory of their own each host is one.
. "$(dirname "$0")/ranks.sh"
fake=$(cd "$(dirname "$0")/../../mpi" && pwd)/fake-hosts
drivers=$(dirname "$driver")
export MPIRUN=$mpirun
scratch=$(mktemp -d /tmp/alps-test.XXXXXX) # the hosts may have a /dev/shm of their own
export TMPDIR=$scratch
clean_up() {
    [ -z "$job" ] || kill "$job" 2>/dev/null
    rm -rf "$scratch"
}

shared() {
    left '(' -name 'alps-mpi*' -o -name 'vader_segment.node*' ')'
}
shared_before=$(shared)
run 0 "$fake" --help
says '^usage: fake-hosts'
while read -r arguments; do
    # shellcheck disable=SC2086 # words
    run 2 "$fake" $arguments
    warns '^fake-hosts: .'
done <<'BAD'

--hosts 0 true
--hosts x true
--hosts 2
--slots 251 true
--bogus true
BAD

"$fake" -- true >"$dir/out" 2>"$dir/err"
case $? in
0) ;;
77)
    echo "skipped mpi.hosts: $(head -n 1 "$dir/err")"
    exit 77
    ;;
*) complain "a job of true fails" ;;
esac
run 0 "$fake" --hosts 3 --slots 1 -- hostname
equals "hosts" "$(sort "$dir/out" | tr '\n' ' ')" "node1 node2 node3 "
run 5 "$fake" -- sh -c 'exit 5'

# hosts DOMAINS FAKE_HOSTS_OPTION... DRIVER OPTION...
hosts() {
    local domains=$1
    shift
    run 0 "$fake" "$@" --warmup 1 --iterations 3 --size 256M --json "$scratch/json-lines"
    says '^RESULT: PASS$'
    equals "domains of $*" \
        "$(sed -n 's/.*"record":"summary".*"domains":\([0-9]*\),.*/\1/p' "$scratch/json-lines" |
            sort -u)" "$domains"
}
for options in 'stress --blocks 300' 'relocate --elements 200' 'shuffle --bytes 64K' \
    'crash --blocks 300 --kill-interval 5ms'; do
    # shellcheck disable=SC2086 # words
    hosts 1 -- "$drivers"/alps-mpi-$options
    # shellcheck disable=SC2086 # words
    hosts 2 --own-memory -- "$drivers"/alps-mpi-$options
done
hosts 3 --hosts 3 --own-memory -- "$drivers/alps-mpi-stress" --blocks 300 --workload neighbour
hosts 2 --own-memory -- "$drivers/alps-mpi-relocate" --elements 200 --emu cxl-switch \
    --emu-mode virtual

# What is wrong on one host only.
run 1 "$fake" --own-memory -- "$driver" --warmup 1 --iterations 2 --inject-corruption
warns '^alps-mpi-stress: rank 3 of 4: block '
says '^RESULT: FAIL$'

# Nothing is left of a job that is interrupted.
for _ in 1 2; do
    env $grace=1 "$fake" -- "$driver" --duration 100s >"$dir/out" 2>"$dir/err" &
    job=$!
    until grep -q '^# ' "$dir/out"; do
        kill -0 "$job" 2>/dev/null || break
        sleep 0.05
    done
    kill -TERM "$job"
    wait "$job" && complain "an interrupted job succeeds"
    job=
    equals "processes of an interrupted job" "$(processes "$driver --duration 100s")" ""
done

equals "what is left in /dev/shm" "$(shared)" "$shared_before"
equals "what is left in $TMPDIR" "$(find "$TMPDIR" -name 'fake-hosts.*')" ""
verdict

#!/usr/bin/env bash
# Tests of the drivers on heaps in place, as on devices, of which files that exist play the part.
. "$(dirname "$0")/ranks.sh"
fake=$(cd "$(dirname "$0")/../../mpi" && pwd)/fake-hosts
drivers=$(dirname "$driver")
file=$dir/file
scratch=$(mktemp -d /tmp/alps-test.XXXXXX) # for hosts that have a /dev/shm of their own
clean_up() {
    [ -z "$job" ] || kill "$job" 2>/dev/null
    rm -rf "$scratch"
}

# ---- the command line, without mpirun ----

run 0 "$driver" --help
says ' --in-place '
while IFS='|' read -r arguments problem; do
    # shellcheck disable=SC2086 # words
    run 2 "$driver" $arguments
    warns "^alps-mpi-crash: .*$problem"
done <<'BAD'
--in-place|--in-place needs --heap
--in-place --heap x --nodes 0|takes no --nodes
--in-place --heap x --emu cxl-switch|takes no --emu
--heap /dev/null --emu cxl-switch|takes no --emu
--in-place --heap x --emu-mode numa|no --emu-mode numa
BAD

# ---- all drivers ----

# is_left: the file is as long as before, without a heap.
is_left() {
    equals "length of the file" "$(stat -c %s "$file")" $((64 << 20))
    run 1 "$tool" info "$file"
    warns 'not an ALPS heap'
}
yes 'no zeros' | head -c 64M >"$file"
while read -r options; do
    # shellcheck disable=SC2086 # words
    run 0 "$mpirun" --timeout 120 -np 3 "$drivers"/alps-mpi-$options --warmup 1 --iterations 4 \
        --ranks 1,3 --heap "$file" --in-place
    says '^RESULT: PASS$'
    equals "lines of the table for 3 ranks" "$(lines '^ +([a-z-]+ +)?3 +1 ' "$dir/out")" 1
    is_left
done <<'DRIVERS'
stress --blocks 300
relocate --elements 200
shuffle --bytes 64K --record 64
crash --blocks 300 --kill-interval 5ms
crash --blocks 20 --min-size 64K --max-size 8M --kill-interval 5ms
DRIVERS
equals "files that are left" "$(find "$dir" -name 'file*')" "$file"

# ---- what cannot be ----

small='--blocks 300 --warmup 1 --iterations 4 --kill-interval 5ms'
# shellcheck disable=SC2086 # words
ranks 1 2 $small --heap "$dir/none" --in-place
warns "cannot create the heap: .*$dir/none"
[ ! -e "$dir/none" ] || complain "a file was made"
# shellcheck disable=SC2086 # words
ranks 1 2 $small --heap "$file" --in-place --size 64M
warns "$file has room for a heap of [0-9]+ bytes beside what the ranks share"
# shellcheck disable=SC2086 # words
ranks 1 2 $small --blocks 1000000 --heap "$file" --in-place
warns "$file has room for a heap of 0 bytes"
is_left

# ---- kept, and taken over ----

# shellcheck disable=SC2086 # words
ranks 0 2 $small --heap "$file" --in-place --keep
says "^# kept: $file$"
run 0 "$tool" check "$file"
run 0 "$tool" info --json "$file"
says '"in_place":true,"shared":true'
# shellcheck disable=SC2086 # words
ranks 1 2 $small --heap "$file" --in-place
warns "cannot create the heap: .*$file: holds a heap already"
run 0 "$tool" destroy --yes "$file"

ln "$file" "$dir/kept" # as kill_ranks calls it
for number in 1 3; do
    start 0 --blocks 500 --kill-interval 3ms --heap "$dir/kept" --in-place --keep
    kill_ranks '"live_blocks":[1-9][0-9]'
    ranks 0 "$number" --recover --heap "$dir/kept" --in-place --json "$dir/json-lines"
    equals "jobs taken over" \
        "$(lines '"record":"recovered".*"generations_freed":[1-9].*"blocks_freed":[1-9]' \
            "$dir/json-lines")" 1
    is_left
done
"$tool" create --in-place "$file" >/dev/null
ranks 1 2 --recover --heap "$file" --in-place
warns "$file has no memory at its end that a job has shared"
run 0 "$tool" destroy --yes "$file"

# ---- several hosts: the same memory, and memory of their own at the same path ----

"$fake" -- true >"$dir/out" 2>"$dir/err"
case $? in
0)
    export MPIRUN=$mpirun TMPDIR=$scratch
    # on_own RANKS COMMAND...: where a rank matches, its host has a file afterwards.
    cat >"$scratch/on_own" <<'SCRIPT'
if expr "$OMPI_COMM_WORLD_RANK" : "$1" >/dev/null && [ ! -e /dev/shm/own ]; then
    truncate -s 64M "/dev/shm/own.$$"
    ln "/dev/shm/own.$$" /dev/shm/own 2>/dev/null
fi
shift
exec "$@"
SCRIPT
    for options in 'stress --blocks 300' 'crash --blocks 300 --kill-interval 5ms'; do
        # shellcheck disable=SC2086 # words
        run 0 "$fake" -- "$drivers"/alps-mpi-$options --warmup 1 --iterations 3 --heap "$file" \
            --in-place --json "$dir/json-lines"
        equals "domains of hosts that share the file" \
            "$(lines '"record":"summary".*"domains":1,' "$dir/json-lines")" 1
        is_left
        # shellcheck disable=SC2086 # words
        run 0 "$fake" --own-memory -- sh "$scratch/on_own" . "$drivers"/alps-mpi-$options \
            --warmup 1 --iterations 3 --heap /dev/shm/own --in-place
        equals "lines of the table with 2 domains" "$(lines '^ +([a-z-]+ +)?4 +2 ' "$dir/out")" 1
    done
    # The device is not there on all hosts: no file is made in its place.
    run 1 "$fake" --own-memory -- sh "$scratch/on_own" 0 "$driver" --warmup 1 --iterations 3 \
        --heap /dev/shm/own --in-place
    warns 'cannot create the heap: .*/dev/shm/own.*No such file'
    ;;
77) echo "no fake hosts: $(head -n 1 "$dir/err")" ;;
*) complain "a job of true fails" ;;
esac

equals "heaps at the end" "$(heaps)" "$heaps_before"
verdict

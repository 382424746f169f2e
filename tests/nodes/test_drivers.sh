#!/usr/bin/env bash
# The MPI drivers, on a heap that nodes with kernels of their own share. DRIVERS is where they are.
. "$(dirname "$0")/nodes.sh"
ranks=$((2 * nodes))
begin_nodes --timeout "${LIMIT:-280}"

# ---- one heap on the device, which is left without a heap ----

while read -r driver; do
    # shellcheck disable=SC2086 # words
    run 0 job -np "$ranks" "$DRIVERS"/alps-mpi-$driver --warmup 1 --iterations 3 --heap "$device"
    says '^RESULT: PASS$'
    equals "lines of the table with one domain" "$(lines "^ +([a-z-]+ +)?$ranks +1 " "$dir/out")" 1
done <<'DRIVERS'
stress --blocks 300
relocate --elements 200
shuffle --bytes 64K --record-size 64
crash --blocks 200 --kill-interval 5ms
DRIVERS
run 1 alps 2 info "$device"
warns 'not an ALPS heap'

# ---- what nodes do not share: a domain for each ----

run 0 job -np "$ranks" "$DRIVERS/alps-mpi-stress" --blocks 300 --warmup 1 --iterations 3 --size 64M
equals "lines of the table with a domain for each node" \
    "$(lines "^ +[a-z-]+ +$ranks +$nodes " "$dir/out")" 1

# ---- a job that dies with one of its nodes, and another that takes over ----

# is_at_work: workers of the first node have allocated blocks, and those of the second one, too.
is_at_work() {
    alps 1 stat --json "$device" | grep -q '"live_blocks":[1-9][0-9]\{2\}' &&
        alps 1 info --json "$device" | grep -q '"remote":true.*"remote":true.*"remote":true'
}
job -np "$ranks" "$DRIVERS/alps-mpi-crash" --blocks 200 --duration 1000s --heap "$device" --keep \
    >"$dir/job" 2>&1 &
victim=$!
await 60 "the job is at work" is_at_work
run 0 "$TESTBED" kill "$session" 2
wait $victim
equals "exit code of a job that lost a node" $? 125
# is_over: none of the first node's processes has the heap open.
is_over() {
    alps 1 info --json "$device" | grep -q '"instances":\[' &&
        ! alps 1 info --json "$device" | grep -q '"alive":true,"remote":false'
}
await 60 "the end of the job on the first node" is_over
run 4 alps 1 destroy --yes "$device"
run 0 alps 1 declare-dead --host node2 --yes "$device"
says 'declared dead with [1-9][0-9]* process'
run 0 alps 1 check "$device"
run 0 "$TESTBED" boot "$session" 2
run 0 job -np "$ranks" "$DRIVERS/alps-mpi-crash" --recover --heap "$device"
says '^RESULT: PASS$'
equals "lines about jobs taken over" "$(lines "^ +$ranks +1 +[1-9][0-9]* " "$dir/out")" 1
run 1 alps 1 info "$device"
warns 'not an ALPS heap'
verdict

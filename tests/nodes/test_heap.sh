#!/usr/bin/env bash
# One heap, and processes of several nodes that use it in turn. HEAP is node_heap.
. "$(dirname "$0")/nodes.sh"
last=$nodes
begin_nodes --timeout "${LIMIT:-280}"
run 0 alps 1 create --shared --size 64M --capacity 192M "$device"

# ---- blocks that one node makes, and another one checks and frees ----

for ((node = 1; node <= nodes; node++)); do
    run 0 on "$node" "$HEAP" fill 200
    run 0 on $((node % nodes + 1)) "$HEAP" take
    says '^200 blocks$'
done
run 0 alps 1 stat --json "$device"
equals "blocks that are left" "$(field live_blocks)" 0

# ---- memory that one node gives to the heap, and another one uses ----

# is_ready COMMAND
is_ready() {
    [ -e "$share/$1.ready" ]
}
on "$last" "$HEAP" grown >"$dir/grown" 2>&1 &
await 60 "the process that is to see the heap grow" is_ready grown
run 0 alps 1 grow --size 128M "$device"
: >"$share/grown.go"
wait $!
equals "exit code of the process that saw it ($(cat "$dir/grown"))" $? 0
run 0 on 1 "$HEAP" take
run 0 alps 1 check "$device"

# ---- a node that stands still, is declared dead, and goes on ----

on "$last" "$HEAP" zombie >"$dir/zombie" 2>&1 &
zombie=$!
await 60 "the process that is to be declared dead" is_ready zombie
run 0 "$TESTBED" pause "$session" "$last"
run 0 alps 1 recover --json "$device"
equals "processes taken for dead" "$(field recovered)" 0
run 0 alps 1 declare-dead --host "node$last" --yes "$device"
run 0 alps 1 recover --json "$device"
equals "processes taken for dead when they are declared so" "$(field recovered)" 1
generation=$(sed -n 's/^generation //p' "$dir/zombie")
run 0 alps 1 bulk-free --json --generation "$generation" "$device"
equals "blocks freed" "$(field blocks)" 3
run 0 on 1 "$HEAP" fill 200 # what was the zombie's is another's now
before=$(cksum <"$session/fam")
: >"$share/zombie.go"
run 0 "$TESTBED" resume "$session" "$last"
wait $zombie
status=$?
equals "exit code of the zombie ($(cat "$dir/zombie"))" $status 0
equals "the memory, after all that the zombie has tried" "$(cksum <"$session/fam")" "$before"
run 0 on "$last" "$HEAP" take # the node is as good as any
run 0 alps 1 stat --json "$device"
equals "blocks that are left" "$(field live_blocks)" 0
run 0 alps 1 check "$device"

# ---- the end of a heap that a dead node has open ----

rm "$share/zombie.ready" "$share/zombie.go"
on "$last" "$HEAP" zombie >"$dir/zombie" 2>&1 &
await 60 "the process that is to die" is_ready zombie
run 0 "$TESTBED" kill "$session" "$last"
wait $!
run 4 alps 1 destroy --yes "$device"
run 0 alps 1 declare-dead --host "node$last" --yes "$device"
run 0 alps 1 destroy --yes "$device"
run 1 alps 1 info "$device"
warns 'not an ALPS heap'
verdict

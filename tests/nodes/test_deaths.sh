#!/usr/bin/env bash
# Nodes that stop and die while processes of all nodes work on one heap. DEATHS is node_deaths, ROUNDS
# how often nodes die.
. "$(dirname "$0")/nodes.sh"
rounds=${ROUNDS:-2}
seed=${SEED:-$RANDOM}
RANDOM=$seed
echo "seed $seed, $rounds rounds on $nodes nodes"
per_node=2
begin_nodes --timeout "${LIMIT:-280}"

# ---- what happens ----

# seats NODE...: the numbers of their seats.
seats() {
    local node
    for node in "$@"; do
        seq $(((node - 1) * per_node)) $((node * per_node - 1))
    done
}
declare -A workers # by node, the process that waits for those of the node
start_work() { # NODE
    on "$1" "$DEATHS" work "$(seats "$1" | head -n 1)" $per_node >"$dir/work.$1" 2>&1 &
    workers[$1]=$!
}
ends_with() { # NODE STATUS: what was started there
    local status
    wait "${workers[$1]}"
    status=$?
    equals "exit code of work on node $1 ($(tail -n 1 "$dir/work.$1"))" "$status" "$2"
}
# go_on NODE...: they do.
go_on() {
    # shellcheck disable=SC2046 # numbers
    run 0 on "$1" "$DEATHS" await $(seats "$@")
}
# dies NODE...: with all that works there.
dies() {
    local node
    for node in "$@"; do
        run 0 "$TESTBED" kill "$session" "$node"
        alive=${alive// $node /}
        ends_with "$node" 125
    done
}
# declare_dead NODE VICTIM...: as whoever starts jobs would, on a node.
declare_dead() {
    local node=$1 victim
    shift
    for victim in "$@"; do
        run 0 alps "$node" declare-dead --host "node$victim" --yes "$device"
        says 'declared dead with [1-9]'
    done
}
# judge NODE
judge() {
    local blocks
    run 0 on "$1" "$DEATHS" judge
    blocks=$(sed -n 's/.* seats, \([0-9]*\) blocks of theirs$/\1/p' "$dir/out")
    judged=$((judged + ${blocks:-0}))
}
judged=0
# all_come_back: those that are dead; a node that is given was booted already.
all_come_back() { # [NODE]
    local node
    for ((node = 1; node <= nodes; node++)); do
        if [[ $alive != *" $node "* ]]; then
            [ "${1-}" = "$node" ] || run 0 "$TESTBED" boot "$session" "$node"
            start_work "$node"
            alive+=" $node "
        fi
    done
}
first_alive() {
    awk '{ print $1 }' <<<"$alive"
}
# random_nodes: some of those alive, and never all.
random_nodes() {
    # shellcheck disable=SC2086 # numbers
    shuf -e -n $((RANDOM % (nodes - 1) + 1)) --random-source=<(yes "$RANDOM") $alive
}
random_time() {
    sleep "0.$((RANDOM % 10))"
}

# ---- all work ----

alive=$(seq -f ' %g ' -s '' "$nodes") # numbers, each between spaces of its own
run 0 alps 1 create --shared --size 64M --capacity 192M "$device"
run 0 on 1 "$DEATHS" prepare $((nodes * per_node)) "$seed"
for node in $alive; do
    start_work "$node"
done
# shellcheck disable=SC2086 # numbers
go_on $alive

# ---- a node that stands still is not taken for dead ----

# is_silent: the second node's processes were, for some seconds.
is_silent() {
    alps 1 info --json "$device" >"$dir/info" &&
        [ "$(lines '"host_name":"node2"' <(grep -o '{"slot"[^}]*}' "$dir/info" |
            grep -E '"silent_seconds":([2-9]|[1-9][0-9]+),'))" -eq $per_node ]
}
run 0 "$TESTBED" pause "$session" 2
await 60 "that the second node is silent" is_silent
run 0 alps 1 recover --json "$device"
equals "processes taken for dead" "$(field recovered)" 0
generation=$(grep -o '{"slot"[^}]*"host_name":"node2"' "$dir/info" | head -n 1 |
    sed 's/.*"generation":\([0-9]*\).*/\1/')
run 4 alps 1 bulk-free --generation "$generation" "$device"
go_on 1
run 0 "$TESTBED" resume "$session" 2
# shellcheck disable=SC2086 # numbers
go_on $alive

# ---- nodes die; in each second round also the one on which the dead are judged ----

for ((round = 1; round <= rounds; round++)); do
    mapfile -t victims < <(random_nodes)
    random_time
    dies "${victims[@]}"
    # shellcheck disable=SC2086 # numbers
    go_on $alive
    first=$(first_alive)
    declare_dead "$first" "${victims[@]}"
    if ((round % 2 == 0)); then
        on "$first" "$DEATHS" judge >"$dir/judge" 2>&1 &
        random_time
        dies "$first"
        wait $!
        [ $? -ne 1 ] || complain "the judge who died: $(cat "$dir/judge")"
        booted=
        second=$(first_alive)
        if [ -z "$second" ]; then
            booted=${victims[0]} # comes back to judge
            second=$booted
            run 0 "$TESTBED" boot "$session" "$booted"
        fi
        declare_dead "$second" "$first"
        judge "$second"
        all_come_back "$booted"
    else
        judge "$first"
        all_come_back
    fi
    run 0 alps "$first" check "$device"
    # shellcheck disable=SC2086 # numbers
    go_on $alive
    [ "$failures" -eq 0 ] || verdict # nothing is as it should be
    ((round % 10)) || echo "$round rounds, $judged blocks of the dead, $SECONDS s"
done
[ "$judged" -gt 0 ] || complain "the dead had no blocks"

# ---- the end ----

run 0 on 1 "$DEATHS" end
for node in $alive; do
    ends_with "$node" 0
done
run 0 on 2 "$DEATHS" judge
run 0 alps 1 stat --json "$device"
equals "blocks that are left, the table" "$(field live_blocks)" 1
run 0 alps 1 check "$device"
verdict

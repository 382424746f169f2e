#!/usr/bin/env bash
# Two nodes, each with a kernel of its own, on one memory. TESTBED and ALPS_TOOL name what is used.
. "$(dirname "$0")/../support/program.sh"

session=$dir/session
clean_up() {
    [ ! -d "$session" ] || "$TESTBED" down "$session"
}

run 2 "$TESTBED" up "$session"
warns 'no --nodes N'
run 2 "$TESTBED" up --nodes 17 "$session"
run 2 "$TESTBED" exec "$session" 1
run 2 "$TESTBED" exec /nowhere 1 -- true
warns 'no session of emu-testbed'
run 2 "$TESTBED" run -- true
run 2 "$TESTBED" run --nodes 2 --fam 12 -- true
warns "not a size like 512M or 1G: '12'"

"$TESTBED" up --nodes 2 --timeout 240 "$session" >"$dir/out" 2>"$dir/err"
case $? in
0) ;;
77)
    echo "skipped nodes.bed: $(tail -1 "$dir/err")"
    exit 77
    ;;
*) complain "emu-testbed up failed" ;;
esac

on() {
    "$TESTBED" exec "$session" "$@"
}
run 3 "$TESTBED" exec "$session" 1 -- sh -c 'hostname; echo aside >&2; exit 3'
says '^node1$'
warns '^aside$'
identities() {
    on "$1" -- cat /etc/machine-id /proc/sys/kernel/random/boot_id
}
first=$(identities 1)
second=$(identities 2)
equals "different identities" "$(printf '%s\n' "$first" "$second" | sort -u | wc -l)" 4

# A heap that one node makes and another one uses.
run 0 "$TESTBED" exec "$session" 1 -- "$ALPS_TOOL" create --shared --size 64M /dev/dax0.0
run 1 "$TESTBED" exec "$session" 2 -- "$ALPS_TOOL" create /dev/dax0.0
warns 'holds a heap already'
run 0 "$TESTBED" exec "$session" 2 -- "$ALPS_TOOL" grow --size 128M /dev/dax0.0
run 0 "$TESTBED" exec "$session" 1 -- "$ALPS_TOOL" info /dev/dax0.0
says '^  in place     yes$'
says '^  size         12[0-9]'

# A node's machine is killed with a program on it, and boots again: the memory is as it was.
on 2 -- sleep 60 >"$dir/sleep" 2>&1 &
sleeper=$!
sleep 1
run 0 "$TESTBED" kill "$session" 2
wait "$sleeper"
equals "exit code of a program whose node was killed" $? 125
run 125 "$TESTBED" exec "$session" 2 -- true
warns 'node 2 does not run'
run 0 "$TESTBED" boot "$session" 2
again=$(identities 2)
equals "the same host" "$(sed -n 1p <<<"$again")" "$(sed -n 1p <<<"$second")"
[ "$(sed -n 2p <<<"$again")" != "$(sed -n 2p <<<"$second")" ] || complain "the same boot"
run 0 "$TESTBED" exec "$session" 2 -- "$ALPS_TOOL" check /dev/dax0.0

run 0 "$TESTBED" pause "$session" 1
on 1 -- hostname >"$dir/late" &
late=$!
sleep 1
equals "what a paused node says" "$(cat "$dir/late")" ""
run 0 "$TESTBED" resume "$session" 1
wait "$late"
equals "what it says then" "$(cat "$dir/late")" node1

if command -v mpirun >/dev/null; then
    # shellcheck disable=SC2016 # expands on the nodes
    run 0 "$TESTBED" mpirun "$session" -- -np 4 sh -c 'echo "on $(hostname)"'
    equals "ranks on each node" "$(grep -c '^on node1$' "$dir/out") $(grep -c '^on node2$' "$dir/out")" \
        "2 2"
fi

processes=$(cat "$session"/*.group "$session"/*.pid)
fam=$(sed -n 's/.*fam="\(.*\)"/\1/p' "$session/settings")
run 0 "$TESTBED" down "$session"
sleep 0.5
for process in $processes; do
    # What has ended and was not waited for has no command line any more.
    [ -z "$(tr -d '\0' 2>/dev/null <"/proc/$process/cmdline")" ] || complain "process $process is left"
done
[ ! -e "$fam" ] || complain "$fam is left"
[ ! -e "$session" ] || complain "$session is left"
verdict

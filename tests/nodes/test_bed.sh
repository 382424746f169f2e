#!/usr/bin/env bash
# The test bed itself: nodes of their own that share memory, run programs, die, stop and come back,
# and of which nothing is left. TESTBED is emu-testbed, ALPS_TOOL is alps, MEMORY a program
# that looks at the shared memory, HOSTS an MPI job, if there is MPI.
. "$(dirname "$0")/nodes.sh"

# ---- What needs no node ----

wrong() { # MESSAGE ARGUMENT...
    local message=$1
    shift
    run 2 "$TESTBED" "$@"
    warns "$message"
}
run 0 "$TESTBED" --help
says '^usage: emu-testbed run '
wrong "no command"
wrong "unknown command 'fly'" fly
wrong "no -- PROGRAM" run --nodes 2
wrong "neither --nodes N nor --numa FILE" run -- true
wrong "do not go with --numa" run --numa /dev/null --nodes 2 -- true
wrong "do not go with --numa" run --numa /dev/null --fsdax -- true
wrong "neither --nodes N nor --numa FILE" up --fsdax "$session"
wrong "unknown argument '--fsdax' of exec" exec --fsdax "$session" 1 -- true
wrong "not 1 to 99 nodes: '0'" up --nodes 0 "$session"
wrong "not 1 to 64 CPUs: 'x'" up --nodes 2 --cpus x "$session"
wrong "not a size like 512M or 1G: '12'" up --nodes 2 --fam 12 "$session"
wrong "a multiple of 2M" up --nodes 2 --fam 7M "$session"
wrong "not a number of seconds: '-1'" up --nodes 2 --timeout -1 "$session"
wrong "unknown argument '--output' of up" up --output x "$session"
wrong "up wants DIR, and got 'nothing'" up --nodes 2
wrong "kill wants DIR NODE" kill "$session"
wrong "down runs no PROGRAM" down "$session" -- true
wrong "there is no session in $session" down "$session"
wrong "is no new directory" up --nodes 2 "$dir"

# ---- A session of two nodes ----

begin_nodes --timeout 250
fam=$(readlink "$session/fam")
keeper=$(cat "$session/keeper")
network=$(readlink "/proc/$keeper/ns/net")
[ "$network" != "$(readlink /proc/self/ns/net)" ] || complain "no network of their own"
wrong "there is no node '3'" exec "$session" 3 -- true
wrong "node 2 runs already" boot "$session" 2
wrong "take no options" shell --fsdax "$session" 1

identity() { # NODE
    on "$1" cat /proc/sys/kernel/hostname /etc/machine-id /proc/sys/kernel/random/boot_id
}
identity 1 >"$dir/first" &
identity 2 >"$dir/second"
wait
equals "host names" "$(sed -n 1p "$dir/first") $(sed -n 1p "$dir/second")" "node1 node2"
equals "machine and boot ids" "$(sed -s 1d "$dir/first" "$dir/second" | sort -u | wc -l)" 4
equals "a machine id" "$(sed -n 2p "$dir/first" | grep -cE '^[0-9a-f]{32}$')" 1

# stdin, stdout, stderr, exit code, environment, directory, files.
# shellcheck disable=SC2016 # for the shell there
word='a "b" $c' run 7 "$TESTBED" exec --output "$dir/back" "$session" 1 -- sh -c '
    echo "$word: $(pwd), $1, $(wc -c)"
    echo to stderr >&2
    echo a file >"$OUT/file"
    exit 7' sh '* x'
says "^a \"b\" \\\$c: $PWD, \* x, 0$"
warns '^to stderr$'
equals "what came back" "$(cat "$dir/back/file")" "a file"
run 137 on 1 sh -c 'kill -9 $$'
run 127 on 1 /nowhere/nothing
run 0 on 2 bash -c ": </dev/tcp/node1/22" # the network

# ---- The memory is the same, atomics are exact ----

run 0 on 1 "$MEMORY" write 42
run 0 on 2 "$MEMORY" read
says '^42$'
on 1 "$MEMORY" add 1000000 >"$dir/adder" &
run 0 on 2 "$MEMORY" add 1000000
wait
run 0 on 1 "$MEMORY" read
says '^2000042$'
equals "the word as the host sees it" \
    "$(od -An -tu8 -j 2097152 -N 8 "$session/fam" | tr -d ' ')" 2000042

# A heap that one node makes and another one uses.
run 0 on 1 "$ALPS_TOOL" create --shared --size 64M /dev/dax0.0
run 1 on 2 "$ALPS_TOOL" create /dev/dax0.0
warns 'holds a heap already'
run 0 on 2 "$ALPS_TOOL" grow --size 128M /dev/dax0.0
run 0 on 1 "$ALPS_TOOL" info /dev/dax0.0
says '^  in place     yes$'
says '^  size         12[0-9]'

# ---- A node dies, and comes back ----

on 2 sh -c 'echo started; sleep 1000' >"$dir/started" 2>"$dir/victim" &
until [ -s "$dir/started" ]; do
    sleep 0.1
done
run 0 "$TESTBED" kill "$session" 2
wait $!
equals "exit code of what ran there" $? 125
equals "and what it said" "$(cat "$dir/victim")" "emu-testbed: node 2 went away before sh ended"
run 125 on 2 true
warns 'node 2 does not run'
run 125 "$TESTBED" pause "$session" 2
run 0 on 1 "$ALPS_TOOL" check /dev/dax0.0 # the other one goes on
run 0 "$TESTBED" boot "$session" 2
identity 2 >"$dir/again"
equals "name and machine id" "$(head -2 "$dir/again")" "$(head -2 "$dir/second")"
[ "$(tail -1 "$dir/again")" != "$(tail -1 "$dir/second")" ] || complain "the same boot id"
run 0 on 2 "$ALPS_TOOL" check /dev/dax0.0

# ---- A node stops, and goes on; a program is ended from outside ----

run 0 "$TESTBED" pause "$session" 2
on 2 echo late >"$dir/late" &
late=$!
run 0 on 1 true
sleep 0.5
equals "said by a node that stands still" "$(cat "$dir/late")" ""
run 0 "$TESTBED" resume "$session" 2
wait $late
equals "exit code afterwards" $? 0
equals "said afterwards" "$(cat "$dir/late")" late
run 124 timeout 1 "$TESTBED" exec "$session" 1 -- sleep 4321
run 1 on 1 sh -c "grep -qsx sleep /proc/[0-9]*/comm"

# ---- A terminal ----

# shellcheck disable=SC2016 # likewise
printf 'tty; echo on $(hostname)\nexit\n' | "$TESTBED" shell "$session" 1 >"$dir/out" 2>"$dir/err"
equals "exit code of a terminal" $? 0
says '/dev/ttyS2'
says 'on node1'

# ---- MPI jobs ----

if [ "$HOSTS" ]; then
    run 0 timeout 100 "$TESTBED" mpirun "$session" -- -np 4 "$HOSTS"
    says '^rank 0: node1$'
    says '^rank 1: node2$'
    says '^rank 2: node1$'
    says '^rank 3: node2$'
    # One of its nodes dies.
    "$TESTBED" mpirun "$session" -- -np 2 sh -c 'echo started; sleep 1000' >"$dir/started" \
        2>"$dir/victim" &
    until [ "$(grep -c started "$dir/started")" -eq 2 ]; do
        sleep 0.1
    done
    run 0 "$TESTBED" kill "$session" 2
    wait $!
    equals "exit code of a job that lost a node" $? 125
    equals "and what it said" "$(tail -n 1 "$dir/victim")" "emu-testbed: the job ended with node 2"
    await 60 "its end on the other node" on 1 sh -c '! grep -qsx sleep /proc/[0-9]*/comm'
else
    echo "MPI is not installed: no jobs are run"
fi

# ---- Nothing is left ----

run 0 "$TESTBED" pause "$session" 1
run 0 "$TESTBED" down "$session"
[ ! -e "$session" ] || complain "the session is still there"
[ ! -e "$fam" ] || complain "the memory is still there"
cat /proc/[0-9]*/cmdline >"$dir/processes" 2>/dev/null
equals "processes that are left" "$(grep -aoF "$session" "$dir/processes")" ""
equals "networks that are left" "$(readlink /proc/[0-9]*/ns/net | grep -cFx "$network")" 0

run 124 "$TESTBED" run --nodes 1 --timeout 2 -- true
warns 'stopped after 2 s'

if [ "$HOSTS" ]; then # all in one command
    run 3 timeout 100 "$TESTBED" run --nodes 2 --cpus 2 --output "$dir/job" -- "$HOSTS" 3
    says '^rank 3: node2$'
    equals "the last rank's file" "$(cat "$dir/job/last")" node2
fi
verdict


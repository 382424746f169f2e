# What the tests of several nodes share; to be sourced. TESTBED is emu-testbed, ALPS_TOOL is alps,
# NODES is how many nodes there are (default 2).
# shellcheck shell=bash
. "$(dirname "$0")/../support/program.sh"
nodes=${NODES:-2}
session=$dir/session
device=/dev/dax0.0
# The host's name of what is /run/emu-testbed on the nodes.
share=$session/share

clean_up() {
    [ ! -e "$session/settings" ] || "$TESTBED" down "$session"
}

skip() { # REASON
    echo "skipped $(basename "$0" .sh | sed s/^test_/nodes./): $1"
    exit 77
}

# begin_nodes OPTION...: a session of nodes; the test is skipped where there can be none.
begin_nodes() {
    "$TESTBED" up --nodes "$nodes" "$@" "$session" >"$dir/out" 2>"$dir/err"
    case $? in
    0) ;;
    77) skip "$(tail -1 "$dir/err")" ;;
    *)
        complain "no session"
        verdict
        ;;
    esac
}

# on NODE PROGRAM...
on() {
    local node=$1
    shift
    "$TESTBED" exec "$session" "$node" -- "$@"
}

# alps NODE ARGUMENT...: the tool on a node.
alps() {
    local node=$1
    shift
    on "$node" "$ALPS_TOOL" "$@"
}

# job ARGUMENT...: an MPI job on all nodes.
job() {
    timeout 300 "$TESTBED" mpirun "$session" -- "$@"
}

# await SECONDS WHAT COMMAND...: until the command succeeds; false, with a complaint, after that
# time.
await() {
    local end=$((SECONDS + $1)) what=$2
    shift 2
    until "$@" >"$dir/awaited" 2>&1; do
        if [ "$SECONDS" -ge "$end" ]; then
            complain "in vain: $what: $(tail -n 3 "$dir/awaited")"
            return 1
        fi
        sleep 0.1
    done
}

# Terminals of nodes; to be sourced by emu-testbed.
# shellcheck shell=bash

# Runs a shell on a node, with this process's terminal, and returns when it has ended.
run_terminal() {
    local size
    check_node
    exec 5>"$session/node$node/terminal.lock"
    flock -n 5 || die 125 "the terminal of node $node is in use"
    size=$(stty size 2>/dev/null) || size='24 80'
    begin_job "$node" "$BASH" -c "stty sane rows ${size% *} cols ${size#* }; exec $BASH"
    : >"$job/terminal"
    if [ -t 0 ]; then
        terminal=$(stty -g)
        stty raw -echo
    fi
    exec 6<&0
    cat <>"$session/node$node/terminal.out" &
    helpers=($!)
    cat <&6 1<>"$session/node$node/terminal.in" &
    helpers+=($!)
    order "$node" "run ${job##*/}"
    wait_for_job "$node"
    sleep 0.2 # what the shell said in the end
    restore_terminal
    [ -s "$job/code" ] || die 125 "node $node went away"
}

restore_terminal() {
    [ -z "$terminal" ] || stty "$terminal"
    terminal=
}

# Several nodes that share memory; to be sourced by emu-testbed.
#
# A session is a directory. It has what the nodes were started with (settings), what they see as
# /run/emu-testbed (share), and of each node the process id of its QEMU, its console and log. The
# network is the namespace of a process that sleeps as long as the session may last: no process of
# the session outlives the limit.
#
# A program is run by a directory with a script in the share, that guest-init looks for; so it needs
# no network, and is heard of whatever becomes of it.
# shellcheck shell=bash

node_tries=3000 # tenths of seconds that a start may take

# ---- processes ----

# Whether the process whose number is in a file is still the one that was meant: its command names
# the session.
is_running() {
    local pid
    pid=$(cat "$1" 2>/dev/null) && grep -qsF "$session" "/proc/$pid/cmdline"
}

# QEMU's parent ends with it.
node_runs() {
    is_running "$session/node$1.group"
}

signal_node() {
    { node_runs "$2" && is_running "$session/node$2.pid"; } || die 125 "node $2 does not run"
    kill "-$1" "$(cat "$session/node$2.pid")"
}

# ---- start and end ----

# The namespace of the network.
start_network() {
    local enter=(unshare -n) try
    [ "$(id -u)" -eq 0 ] || enter=(unshare -U -r -n)
    # shellcheck disable=SC2016 # expands there
    setsid "${enter[@]}" bash -c 'ip link set lo up && ip link set lo multicast on &&
        ip route add 224.0.0.0/4 dev lo && touch "$1/network.ready" &&
        exec -a "network of $1" sleep "$2"' emu-testbed "$session" "$limit" \
        </dev/null >"$session/network.log" 2>&1 &
    echo $! >"$session/network.group"
    disown
    for ((try = 0; try < 100; try++)); do
        [ ! -e "$session/network.ready" ] || return 0
        sleep 0.1
    done
    missing "no namespace for the network: $(tail -n 1 "$session/network.log")"
}

start_node() {
    local node=$1 enter=(--net) options
    [ "$(id -u)" -eq 0 ] || enter=(-U --preserve-credentials --net)
    rm -rf "$share/node$node"/{ready,jobs}
    mkdir -p "$share/node$node/jobs"
    options=(-machine q35,nvdimm=on -m "${memory_mib}M,slots=2,maxmem=$((memory_mib + fam_mib))M"
        -smp 1,maxcpus=2 # with one CPU for ever, TCG's atomics were not so for other processes
        -object "memory-backend-file,id=fam,share=on,mem-path=$fam,size=${fam_mib}M"
        -device nvdimm,memdev=fam
        -netdev socket,id=net,mcast=230.0.0.1:4567,localaddr=127.0.0.1
        -device "virtio-net-pci,netdev=net,romfile=,mac=52:54:00:00:01:$(printf %02x "$node")"
        -chardev pty,id=terminal -device virtio-serial -device virtconsole,chardev=terminal
        -pidfile "$session/node$node.pid")
    rm -f "$session/node$node.pid"
    qemu_command "$session/node$node." "emu_testbed=node$node" "${options[@]}"
    setsid nsenter -t "$(cat "$session/network.group")" "${enter[@]}" \
        timeout -k 10 "$limit" "${qemu[@]}" </dev/null >"$session/node$node.qemu" 2>&1 &
    echo $! >"$session/node$node.group"
    disown
}

# wait_for_node NODE: until it takes commands.
wait_for_node() {
    local try
    for ((try = 0; try < node_tries; try++)); do
        [ ! -e "$share/node$1/ready" ] || return 0
        node_runs "$1" || break
        sleep 0.1
    done
    tail -n 20 "$session/node$1.qemu" "$session/node$1.console" >&2 || true
    die 125 "node $1 did not start"
}

# Makes a session in $session, of $nodes nodes.
nodes_up() {
    local node
    command -v nsenter >/dev/null && command -v ip >/dev/null ||
        missing "no nsenter or no ip; they are in Debian's packages util-linux and iproute2"
    prepare
    choose_accelerator
    session=$(realpath -m "$session")
    mkdir -p "$(dirname "$session")" && mkdir "$session" || die 2 "cannot make $session"
    temporary=1
    make_share "$session/share"
    fam_mib=$(mebibytes "$fam_size") memory_mib=$(mebibytes "$node_memory_size")
    make_fam "$fam_mib"
    # To be read in a function.
    declare -p nodes fam fam_mib memory_mib boot accelerator limit |
        sed "s,^declare --,declare -g --," >"$session/settings"
    start_network
    printf '127.0.0.1 localhost\n' >"$share/hosts"
    for ((node = 1; node <= nodes; node++)); do
        printf '10.9.0.%d node%d\n' "$node" "$node" >>"$share/hosts"
        mkdir "$share/node$node"
        tr -d - </proc/sys/kernel/random/uuid >"$share/node$node/machine-id"
    done
    for ((node = 1; node <= nodes; node++)); do
        start_node "$node"
    done
    for ((node = 1; node <= nodes; node++)); do
        wait_for_node "$node"
    done
}

nodes_down() {
    local file
    for file in "$session"/*.group; do
        ! is_running "$file" || kill -KILL -- "-$(cat "$file")" 2>/dev/null || true
    done
    if [ -f "$session/settings" ]; then
        # shellcheck source=/dev/null
        (. "$session/settings" && rm -f "$fam")
    fi
    rm -rf "$session"
    temporary=
}

# ---- programs ----

# nodes_exec NODE PROGRAM [ARGUMENT...]: its exit code.
nodes_exec() {
    local node=$1 job
    shift
    node_runs "$node" || die 125 "node $node does not run"
    job=$(mktemp -d "$share/node$node/jobs/XXXXXX")
    write_job "$job" "$@"
    while [ ! -s "$job/code" ] && node_runs "$node"; do
        sleep 0.1
    done &
    show_job "$job" $!
    [ -s "$job/code" ] || die 125 "node $node ended while a program ran there"
    return "$(cat "$job/code")"
}

# nodes_mpirun ARGUMENT...: mpirun on all nodes.
nodes_mpirun() {
    local hosts='' node
    for ((node = 1; node <= nodes; node++)); do
        hosts+=,10.9.0.$node:64
    done
    # shellcheck source=../../mpi/env.sh
    environment+=$'\n'$(. "$here/../../mpi/env.sh" && export -p | grep OMPI_)
    environment+=$'\nexport OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1'
    nodes_exec 1 mpirun --host "${hosts#,}" --map-by node --bind-to none \
        --mca plm_rsh_agent "$here/guest-rsh" --mca plm_rsh_no_tree_spawn 1 \
        --mca btl tcp,vader,self --mca btl_tcp_if_include eth0 --mca oob_tcp_if_include eth0 "$@"
}

# nodes_shell NODE: a shell there, on this terminal, until it ends.
nodes_shell() {
    local node=$1 terminal state process
    [ -t 0 ] || die 2 "a shell needs a terminal"
    terminal=$(sed -n 's/.* redirected to \([^ ]*\) .*/\1/p' "$session/node$node.qemu")
    nodes_exec "$node" stty -F /dev/hvc0 rows "$(tput lines)" cols "$(tput cols)"
    rm -f "$share/node$node/bye"
    state=$(stty -g)
    stty raw -echo
    cat "$terminal" &
    showers=($!)
    cat >"$terminal" </dev/tty &
    showers+=($!)
    echo >"$terminal" # a prompt
    while [ ! -e "$share/node$node/bye" ] && node_runs "$node"; do
        sleep 0.2
    done
    for process in "${showers[@]}"; do
        kill "$process"
    done
    showers=()
    stty "$state"
    echo
}

# ---- commands ----

# Takes the session of a directory, and a node of it if one is given.
load_session() {
    local node=${2-}
    [ -f "$1/settings" ] || die 2 "$1 is no session of emu-testbed"
    session=$(realpath "$1")
    share=$session/share
    # shellcheck source=/dev/null
    . "$session/settings"
    [ -z "$node" ] || { is_positive "$node" && [ "$node" -le "$nodes" ]; } ||
        die 2 "there is no node $node: they are 1 to $nodes"
}

# session_command [DIR [NODE]] -- [PROGRAM...]
session_command() {
    local directory='' node='' code=0
    if [ "$1" != -- ]; then
        directory=$1
        shift
    fi
    if [ "$1" != -- ]; then
        node=$1
        shift
    fi
    shift
    if [ "$command" = up ] || [ -z "$directory" ]; then
        session=${directory:-$work/session}
        nodes_up
    else
        load_session "$directory" "$node"
    fi
    case $command in
        up) temporary= ;; # it stays
        down) nodes_down ;;
        exec) nodes_exec "$node" "$@" || code=$? ;;
        mpirun) nodes_mpirun "$@" || code=$? ;;
        shell)
            [ "$node" ] ||
                echo "emu-testbed: from other terminals: emu-testbed shell $session NODE" >&2
            nodes_shell "${node:-1}"
            ;;
        kill) signal_node KILL "$node" ;;
        pause) signal_node STOP "$node" ;;
        resume) signal_node CONT "$node" ;;
        boot)
            ! node_runs "$node" || die 2 "node $node runs: kill it first"
            start_node "$node"
            wait_for_node "$node"
            ;;
    esac
    return "$code"
}

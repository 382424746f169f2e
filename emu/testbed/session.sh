# A session: nodes that run, and the directory by which they are ordered about; to be sourced by
# emu-testbed. In $session are:
#   settings     what the nodes are started with
#   fam          a link to the memory that they share
#   keeper       the process that starts the nodes, is in their network, and ends with them
#   orders       a pipe to it: numbers of nodes to be started
#   slots        the nodes, as mpirun wants them
#   share        what nodes and host both write: jobs, and each node's identity and being ready
#   nodeN        of the host alone: the process, its console, and pipes to its serial ports
#   work         what is needed while the guests' kernel is made ready
# shellcheck shell=bash

# lives FILE: the process whose number is in it is one of the session.
lives() {
    local process
    { read -r process <"$1"; } 2>/dev/null &&
        grep -aqsF "$session" "/proc/$process/cmdline"
}

# ---- Starting and ending ----

# Sets namespace, the command that runs others in a network of their own.
find_namespace() {
    local reason
    namespace=(unshare --net)
    [ "$(id -u)" -eq 0 ] || namespace=(unshare --user --map-root-user --net)
    command -v ip >/dev/null || missing "no ip; it is in Debian's package iproute2"
    reason=$("${namespace[@]}" ip link set lo up 2>&1) ||
        missing "no network namespace for this user: $reason"
}

# Starts the session with its nodes, and returns when all are ready.
begin() {
    local node=0 ends=() keeper
    prepare
    choose_accelerator
    rm -rf "$work"
    [ "$accelerator" = kvm ] || kernel_options+=" no_timer_check"
    namespace=() fam=
    if [ "$topology" ]; then
        nodes=1
    else
        find_namespace
        make_fam "$fam_size" "$fam_mode"
        guest_options=(-machine q35,nvdimm=on -m "${memory}M,slots=1,maxmem=$((memory + fam_size))M"
            # Emulated CPUs are atomic towards other guests only if there may be several.
            -smp "$cpus,maxcpus=$((cpus + 1))"
            -object "memory-backend-file,id=fam,share=on,mem-path=$fam,size=${fam_size}M"
            -device "nvdimm,memdev=fam")
    fi
    mkdir -p "$session/share/jobs"
    mkfifo "$session/orders"
    echo "$BASH" >"$session/share/shell"
    cp "$here/launch-agent" "$session/share"
    echo "127.0.0.1 localhost" >"$session/share/hosts"
    while [ "$node" -lt "$nodes" ]; do
        node=$((node + 1))
        mkdir "$session/node$node" "$session/share/node$node"
        mkfifo "$session/node$node"/{orders,terminal}.{in,out}
        tr -d - </proc/sys/kernel/random/uuid >"$session/share/node$node/machine-id"
        echo "${fam:+10.9.0.$node}${topology:+127.0.0.1} node$node" >>"$session/share/hosts"
    done
    seq -f "node%g:$cpus" -s , "$nodes" >"$session/slots"
    declare -p nodes limit boot kernel_options accelerator guest_options >"$session/settings"

    # A session begun by up stays, one of another command ends with it, however that ends.
    [ "$command" = up ] || ends=(setpriv --pdeathsig TERM)
    setsid "${namespace[@]}" "${ends[@]}" "$BASH" "$here/emu-testbed" keep "$session" \
        </dev/null >"$session/log" 2>&1 &
    keeper=$!
    until [ -s "$session/keeper" ]; do
        kill -0 "$keeper" 2>/dev/null || give_up "the session did not start"
        sleep 0.05
    done
    for ((node = 1; node <= nodes; node++)); do
        wait_until_ready "$node"
    done
}

wait_until_ready() {
    local home=$session/node$1
    until [ -e "$session/share/node$1/ready" ]; do
        if ! lives "$session/keeper" || { [ -e "$home/pid" ] && ! lives "$home/pid"; }; then
            give_up "node $1 did not start" "$1"
        fi
        sleep 0.1
    done
}

# give_up TEXT NODE...: ends with what QEMU, the kernel and guest-init of the nodes said last, where
# it is not the time that was over.
give_up() {
    local text=$1 node
    shift
    [ -z "$limit" ] || [ "$SECONDS" -lt "$limit" ] || die 124 "stopped after $limit s"
    for node in "$@"; do
        tail -q -n 20 "$session/node$node"/{qemu,console} >&2 2>/dev/null || true
    done
    cat "$session/log" >&2 || true
    die 125 "$text"
}

# What the keeper does: starts nodes, all at first and then those ordered, until its time is over
# or it is told to end.
keep() {
    local node
    echo $$ >"$session/keeper"
    exec 3<>"$session/orders"
    trap 'end_nodes; rm -rf "$session"' EXIT
    trap 'exit 143' INT TERM
    if [ -s "$session/fam" ]; then
        # Multicasts on the loopback of this namespace are the nodes' Ethernet.
        ip link set lo up
        ip link set lo multicast on
        ip route add 224.0.0.0/4 dev lo
    fi
    for ((node = 1; node <= nodes; node++)); do
        start_node "$node"
    done
    while [ "$SECONDS" -lt "$limit" ]; do
        ! read -r -t "$((limit - SECONDS))" -u 3 node || start_node "$node"
    done
    # The directory stays, so that whoever uses the session finds out.
    trap end_nodes EXIT
}

end_nodes() {
    local processes
    trap '' INT TERM
    processes=$(jobs -p)
    # shellcheck disable=SC2086 # numbers
    [ -z "$processes" ] || kill -KILL $processes 2>/dev/null || true
    wait
    remove_fam
}

remove_fam() {
    [ ! -L "$session/fam" ] || rm -f "$(readlink "$session/fam")"
}

start_node() {
    local home=$session/node$1 host share network=()
    host=local,id=host,path=/,security_model=none,readonly=on,multidevs=remap
    share=local,id=share,path=$session/share,security_model=none,multidevs=remap
    [ ! -s "$session/fam" ] || network=(
        -netdev "socket,id=net,mcast=230.0.0.1:4567,localaddr=127.0.0.1"
        -device "virtio-net-pci,netdev=net,mac=52:54:00:00:00:$(printf %02x "$1"),romfile=")
    setpriv --pdeathsig KILL "${qemu[@]}" -accel "${accelerator/#tcg/tcg,thread=multi}" \
        "${guest_options[@]}" "${network[@]}" -serial "file:$home/console" \
        -serial "pipe:$home/orders" -serial "pipe:$home/terminal" \
        -kernel "$boot/kernel" -initrd "$boot/initramfs" -append "$kernel_options node=$1" \
        -fsdev "$host" -device virtio-9p-pci,fsdev=host,mount_tag=host \
        -fsdev "$share" -device virtio-9p-pci,fsdev=share,mount_tag=share \
        </dev/null >"$home/qemu" 2>&1 3>&- &
    echo $! >"$home/pid.new"
    mv "$home/pid.new" "$home/pid"
}

# Ends the session and removes all of it.
end() {
    local process
    if lives "$session/keeper"; then
        read -r process <"$session/keeper"
        kill -TERM "$process" 2>/dev/null || true
        while lives "$session/keeper"; do
            sleep 0.05
        done
    fi
    # If the keeper was killed, so were the nodes; but the memory is still there.
    remove_fam
    rm -rf "$session"
}

# ---- Nodes that die, stop, and start again ----

# signal_node SIGNAL
signal_node() {
    local process
    lives "$session/node$node/pid" || die 125 "node $node does not run"
    read -r process <"$session/node$node/pid"
    kill "-$1" "$process"
}

kill_node() {
    signal_node KILL
    while lives "$session/node$node/pid"; do
        sleep 0.02
    done
}

boot_node() {
    lives "$session/keeper" || die 125 "the session is over"
    ! lives "$session/node$node/pid" || die 2 "node $node runs already"
    rm -f "$session/node$node/pid" "$session/share/node$node/ready"
    echo "$node" 1<>"$session/orders"
    wait_until_ready "$node"
}

# ---- Jobs ----

# order NODE TEXT: opened for reading, too, a pipe that nobody reads blocks nobody.
order() {
    echo "$2" 1<>"$session/node$1/orders.in"
}

# begin_job NODE PROGRAM [ARGUMENT...]: sets job, and job_node.
begin_job() {
    job_node=$1
    shift
    job=$(mktemp -d "$session/share/jobs/XXXXXX")
    mkdir "$job/out"
    : >"$job/stdout"
    : >"$job/stderr"
    {
        echo "$environment"
        printf 'export OUT=/run/emu-testbed/jobs/%q/out\n' "${job##*/}"
        printf 'cd %q || exit 125\n' "$PWD"
        printf 'exec'
        printf ' %q' "$@"
        echo
    } >"$job/start"
}

# Returns when the job has ended, or one of the nodes given.
wait_for_job() {
    local node
    until [ -s "$job/code" ]; do
        for node in "$@"; do
            lives "$session/node$node/pid" || return 0
        done
        sleep 0.05
    done
}

# finish_job NODE...: sets code to the job's exit code; empty if one of the nodes that the job
# depends on has gone before. What is left of it then is stopped.
finish_job() {
    local waiter
    order "$job_node" "run ${job##*/}"
    wait_for_job "$@" &
    waiter=$!
    tail -q -c +1 -s 0.05 -f --pid="$waiter" "$job/stdout" &
    helpers=("$waiter" $!)
    tail -q -c +1 -s 0.05 -f --pid="$waiter" "$job/stderr" >&2 &
    helpers+=($!)
    wait "${helpers[@]}" || true
    helpers=()
    code=$(cat "$job/code" 2>/dev/null) || true
    [ -n "$code" ] || order "$job_node" "stop ${job##*/}"
    [ -z "$output" ] || cp -a "$job/out/." "$output/" ||
        die 125 "cannot copy the files of \$OUT to $output"
    if [ "$code" != 0 ] && grep -qs 'Out of memory: Killed' "$session/node$job_node/console"; then
        echo "emu-testbed: node $job_node ran out of memory and killed processes" >&2
    fi
    rm -rf "$job"
    job=
}

# Returns if the node runs and takes orders.
check_node() {
    lives "$session/node$node/pid" || die 125 "node $node does not run"
    wait_until_ready "$node" # it may be starting
}

# Ends as the job does. Without one of the nodes it may wait for ever.
finish_on_all() {
    local home all=() failed=()
    for home in "$session"/node*; do
        all+=("${home##*node}")
    done
    finish_job "${all[@]}"
    [ -z "$code" ] || exit "$code"
    for node in "${all[@]}"; do
        lives "$session/node$node/pid" || failed+=("$node")
    done
    give_up "the job ended with node ${failed[*]}" "${failed[@]}"
}

# Runs a program on one node.
run_on_node() {
    check_node
    begin_job "$node" "$@"
    finish_job "$node"
    [ -n "$code" ] || die 125 "node $node went away before $1 ended"
    exit "$code"
}

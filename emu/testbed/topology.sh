# The NUMA topology of a file, as QEMU's options; to be sourced by emu-testbed.
# shellcheck shell=bash

# By number of a node, by "FROM TO", and by "KIND FROM TO".
declare -a node_cpus=() node_memory=() node_initiator=() node_line=()
declare -A distance=() latency=() bandwidth=() line_of=()

bad() {
    die 2 "$topology:$1: $2"
}

# parse_node LINE ID [KEY VALUE]...
parse_node() {
    local line=$1 id=${2-}
    is_number "$id" || bad "$line" "expected: node NUMBER [cpus N] memory SIZE [initiator NODE]"
    [ -z "${node_line[id]-}" ] || bad "$line" "node $id again, first in line ${node_line[id]}"
    node_line[id]=$line
    shift 2
    while [ $# -gt 0 ]; do
        [ $# -ge 2 ] || bad "$line" "'$1' without a value"
        case $1 in
            cpus)
                is_positive "$2" || bad "$line" "not a count of CPUs: '$2'"
                node_cpus[id]=$2
                ;;
            memory)
                node_memory[id]=$(mebibytes "$2") ||
                    bad "$line" "not a size like 512M or 1G: '$2'"
                ;;
            initiator)
                is_number "$2" || bad "$line" "not a node: '$2'"
                node_initiator[id]=$2
                ;;
            *) bad "$line" "unknown word '$1'" ;;
        esac
        shift 2
    done
    [ -n "${node_memory[id]-}" ] || bad "$line" "node $id without memory"
}

# parse_relation LINE KIND FROM TO VALUE
parse_relation() {
    local line=$1 kind=$2
    if [ $# -ne 5 ] || ! is_number "$3" || ! is_number "$4" || ! is_number "$5"; then
        bad "$line" "expected: $kind NODE NODE NUMBER"
    fi
    [ -z "${line_of["$kind $3 $4"]-}" ] ||
        bad "$line" "$kind $3 $4 again, first in line ${line_of["$kind $3 $4"]}"
    line_of["$kind $3 $4"]=$line
    case $kind in
        distance)
            if [ "$3" -eq "$4" ]; then
                [ "$5" -eq 10 ] || bad "$line" "the distance of a node to itself is 10"
            elif [ "$5" -le 10 ] || [ "$5" -gt 254 ]; then
                bad "$line" "distances are 11 to 254"
            fi
            distance["$3 $4"]=$5
            ;;
        *)
            local -n values=$kind
            local -A most=([latency]=65534 [bandwidth]=500) # what fits the 16 bits of the table
            if [ "$5" -eq 0 ] || [ "$5" -gt "${most[$kind]}" ]; then
                bad "$line" "a $kind is 1 to ${most[$kind]}"
            fi
            # shellcheck disable=SC2034 # the nameref's target is read
            values["$3 $4"]=$5
            ;;
    esac
}

check_topology() {
    local id count=${#node_line[@]} key kind from to
    [ "$count" -gt 0 ] || die 2 "$topology: no nodes"
    [ "${#node_cpus[@]}" -gt 0 ] || die 2 "$topology: no node with CPUs"
    for id in "${!node_line[@]}"; do
        [ "$id" -lt "$count" ] || bad "${node_line[id]}" "node $id, but there are only $count nodes"
        if [ -n "${node_cpus[id]-}" ]; then
            [ "${node_initiator[id]-$id}" -eq "$id" ] ||
                bad "${node_line[id]}" "a node with CPUs is its own initiator"
            node_initiator[id]=$id
        fi
        [ -n "${node_initiator[id]-}" ] || bad "${node_line[id]}" "neither cpus nor an initiator"
        [ -n "${node_cpus[${node_initiator[id]}]-}" ] ||
            bad "${node_line[id]}" "the initiator must be a node with CPUs"
    done
    for key in "${!line_of[@]}"; do
        read -r kind from to <<<"$key"
        for id in "$from" "$to"; do
            [ -n "${node_line[id]-}" ] || bad "${line_of["$key"]}" "there is no node $id"
        done
        [ "$kind" = distance ] || [ -n "${node_cpus[from]-}" ] ||
            bad "${line_of["$key"]}" "node $from has no CPUs"
    done
}

read_topology() {
    local number=0 text words
    while IFS= read -r text || [ -n "$text" ]; do
        number=$((number + 1))
        read -ra words <<<"${text%%#*}"
        case ${words[0]-} in
            '') ;;
            node) parse_node "$number" "${words[@]:1}" ;;
            distance | latency | bandwidth) parse_relation "$number" "${words[@]}" ;;
            *) bad "$number" "unknown word '${words[0]}'" ;;
        esac
    done <"$topology"
    check_topology
}

# Sets guest_options.
make_numa_options() {
    local from to key cpus=0 memory=0 sockets cores first same=1 value
    guest_options=(-machine q35,hmat=on)
    for from in "${!node_line[@]}"; do
        value=node,nodeid=$from,memdev=memory$from,initiator=${node_initiator[from]}
        if [ -n "${node_cpus[from]-}" ]; then
            value+=,cpus=$cpus-$((cpus + node_cpus[from] - 1))
            cpus=$((cpus + node_cpus[from]))
            first=${first:-${node_cpus[from]}}
            [ "${node_cpus[from]}" -eq "$first" ] || same=
        fi
        memory=$((memory + node_memory[from]))
        guest_options+=(-object "memory-backend-ram,id=memory$from,size=${node_memory[from]}M"
            -numa "$value")
    done
    for from in "${!node_line[@]}"; do
        for to in "${!node_line[@]}"; do
            value=${distance["$from $to"]-${distance["$to $from"]-20}}
            [ "$from" -ne "$to" ] || value=10
            guest_options+=(-numa "dist,src=$from,dst=$to,val=$value")
        done
    done
    for key in "${!latency[@]}"; do
        value=hmat-lb,hierarchy=memory,initiator=${key% *},target=${key#* }
        value+=,data-type=access-latency,latency=${latency["$key"]}
        guest_options+=(-numa "$value")
    done
    for key in "${!bandwidth[@]}"; do
        value=hmat-lb,hierarchy=memory,initiator=${key% *},target=${key#* }
        # What QEMU takes for MiB/s, Linux shows as MB/s.
        value+=,data-type=access-bandwidth,bandwidth=${bandwidth["$key"]}000M
        guest_options+=(-numa "$value")
    done
    # No socket may reach over two nodes, or Linux complains.
    if [ "$same" ]; then
        sockets=${#node_cpus[@]} cores=$first
    else
        sockets=$cpus cores=1
    fi
    guest_options+=(-m "${memory}M" -smp "$cpus,sockets=$sockets,cores=$cores,threads=1")
}

#!/usr/bin/env bash
# libalps-malloc.so: what the environment and the limits of a process say. LIBRARY is it, FILL and
# LINKED are programs that allocate, the second one linked with the library.
. "$(dirname "$0")/../support/program.sh"

preload=(env "LD_PRELOAD=$LIBRARY")

# has LEAST MOST COMMAND...: FILL's figures, of twice the same, are from LEAST to MOST.
has() {
    local least=$1 most=$2 mib
    shift 2
    run 0 "$@"
    equals "figures of $*" "$(wc -l <"$dir/out")" 2
    while read -r mib; do
        equals "$mib is from $least to $most MiB" $((mib >= least && mib <= most)) 1
    done <"$dir/out"
}

for size in '' 12Q -1 1M 0 99999999999999999999 20T; do
    run 125 "${preload[@]}" "ALPS_MALLOC_SIZE=$size" "$FILL" 10
    warns '^libalps-malloc: .*(size|large|more than|capacity)'
done
run 125 "${preload[@]}" ALPS_MALLOC_SIZE=12Q "$FILL" 10
warns '^libalps-malloc: ALPS_MALLOC_SIZE=12Q: not a size'

has 50 64 "${preload[@]}" ALPS_MALLOC_SIZE=64M "$FILL" 1000
has 400 512 "${preload[@]}" ALPS_MALLOC_SIZE=512MiB "$FILL" 1000
has 300 300 "${preload[@]}" "$FILL" 300
has 300 300 env -i "LD_PRELOAD=$LIBRARY" "$FILL" 300
has 300 300 "$LINKED" 300
has 50 64 env ALPS_MALLOC_SIZE=64M "$LINKED" 1000

# A limit of addresses leaves a smaller heap, and the rest of the program some room.
limited=(bash -c 'ulimit -v 1000000; exec "$@"' -)
has 200 1000 "${limited[@]}" "${preload[@]}" "$FILL" 2000
run 125 "${limited[@]}" "${preload[@]}" ALPS_MALLOC_SIZE=10G "$FILL" 10
warns '^libalps-malloc: private heap: this process has no .* bytes of addresses'

# Nothing relies on the standard streams.
has 10 10 bash -c 'exec "$@" <&- 2>&-' - "${preload[@]}" "$FILL" 10

# A file that fills up is no memory, too.
has 200 256 "${preload[@]}" "ALPS_MALLOC_HEAP=$dir/heap" ALPS_MALLOC_SIZE=256M "$FILL" 1000

verdict

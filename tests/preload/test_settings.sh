#!/usr/bin/env bash
# libalps-malloc.so: what the environment and the limits of a process say. LIBRARY is it, FILL and
# LINKED are programs that allocate, the second one linked with the library.
set -euo pipefail

dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
failed=0

fail() {
    echo "FAILED: $1"
    sed 's/^/    /' "$dir/out"
    failed=1
}

# refuses TEXT COMMAND...: ends with 125 and says so.
refuses() {
    local text=$1 status=0
    shift
    "$@" >"$dir/out" 2>&1 || status=$?
    [ $status -eq 125 ] || fail "$* ended with $status, not 125"
    grep -qF "libalps-malloc: $text" "$dir/out" || fail "$* does not say: $text"
}

# has LEAST MOST COMMAND...: FILL's figures are from LEAST to MOST.
has() {
    local least=$1 most=$2 mib
    shift 2
    "$@" >"$dir/out" 2>&1 || { fail "$*"; return; }
    [ "$(wc -l <"$dir/out")" -eq 2 ] || fail "$*: not two figures"
    while read -r mib; do
        [ "$mib" -ge "$least" ] && [ "$mib" -le "$most" ] ||
            fail "$*: $mib is not from $least to $most MiB"
    done <"$dir/out"
}

preload=(env "LD_PRELOAD=$LIBRARY")
for size in '' 12Q -1 1M 0 99999999999999999999 20T; do
    refuses '' "${preload[@]}" "ALPS_MALLOC_SIZE=$size" "$FILL" 10
done
refuses 'ALPS_MALLOC_SIZE=12Q: not a size' "${preload[@]}" ALPS_MALLOC_SIZE=12Q "$FILL" 10

has 50 64 "${preload[@]}" ALPS_MALLOC_SIZE=64M "$FILL" 1000
has 400 512 "${preload[@]}" ALPS_MALLOC_SIZE=512MiB "$FILL" 1000
has 300 300 "${preload[@]}" "$FILL" 300
has 300 300 env -i "LD_PRELOAD=$LIBRARY" "$FILL" 300
has 300 300 "$LINKED" 300
has 50 64 env ALPS_MALLOC_SIZE=64M "$LINKED" 1000
# A limit of addresses leaves a smaller heap, and the rest of the program some room.
has 200 1000 bash -c 'ulimit -v 1000000; exec "$@"' - "${preload[@]}" "$FILL" 2000
refuses 'private heap' bash -c 'ulimit -v 1000000; exec "$@"' - \
    "${preload[@]}" ALPS_MALLOC_SIZE=10G "$FILL" 10
has 10 10 bash -c 'exec "$@" <&- 2>&-' - "${preload[@]}" "$FILL" 10

exit $failed

#!/usr/bin/env bash
# alps run. TOOL is the tool, FILL a program that allocates all there is, LIBRARY what is loaded.
set -euo pipefail

dir=$(mktemp -d /dev/shm/alps-preload.XXXXXX)
trap 'rm -rf "$dir"' EXIT
failed=0

# expects STATUS TEXT COMMAND...: ends so, and says that on stdout or stderr.
expects() {
    local wanted=$1 text=$2 status=0
    shift 2
    "$@" >"$dir/out" 2>&1 || status=$?
    if [ $status -ne "$wanted" ] || [ -n "$text" ] && ! grep -qF -e "$text" "$dir/out"; then
        echo "FAILED: $*: status $status, not $wanted, or does not say: $text"
        sed 's/^/    /' "$dir/out"
        failed=1
    fi
}

expects 0 "LD_PRELOAD=$LIBRARY" "$TOOL" run env
expects 0 "LD_PRELOAD=$LIBRARY:libm.so.6" env LD_PRELOAD=libm.so.6 "$TOOL" run env
expects 0 -x "$TOOL" run printf '%s\n' -x --heap --help
expects 0 -x "$TOOL" run -- printf '%s\n' -x
expects 3 '' "$TOOL" run -- sh -c 'exit 3'
expects 127 'no-such-program: No such file' "$TOOL" run no-such-program
expects 126 'Permission denied' "$TOOL" run "$dir"
expects 2 'no PROGRAM is given' "$TOOL" run
expects 2 'unknown or ambiguous option --json' "$TOOL" run --json true
expects 2 '--size 4Q: not a size' "$TOOL" run --size 4Q true
expects 2 '--heap : empty' "$TOOL" run --heap '' true
expects 0 '[--] PROGRAM' "$TOOL" help run
expects 125 "$dir/no/heap" "$TOOL" run --heap "$dir/no/heap" ls
echo text >"$dir/text"
expects 125 'not an ALPS heap' "$TOOL" run --heap "$dir/text" ls
expects 0 57 "$TOOL" run --size 64M "$FILL" 57
expects 0 '' "$TOOL" run --heap "$dir/heap" --size 256M "$FILL" 200
expects 0 'capacity     256.0 MiB' "$TOOL" info "$dir/heap"
# What the tool does to its signals and streams is not passed on.
expects 141 '' "$TOOL" run sh -c 'kill -s PIPE $$'
expects 0 closed bash -c 'exec "$@" <&-' - "$TOOL" run sh -c '[ -e /proc/$$/fd/0 ] || echo closed'
# All that the program starts, too; many at a time that make the heap.
for i in {1..8}; do
    "$TOOL" run --heap "$dir/many" sh -c 'perl -e "my @x = (1..1000)"; true' 2>>"$dir/many.log" &
done
wait
[ ! -s "$dir/many.log" ] || { echo "FAILED: many at a time:"; cat "$dir/many.log"; failed=1; }
expects 0 clean "$TOOL" check "$dir/many"

exit $failed

#!/usr/bin/env bash
# alps run. TOOL is the tool, FILL a program that allocates all there is, LIBRARY what is loaded.
. "$(dirname "$0")/../support/program.sh"

run 0 "$TOOL" run env
says "^LD_PRELOAD=$LIBRARY$"
run 0 env LD_PRELOAD=libm.so.6 "$TOOL" run env
says "^LD_PRELOAD=$LIBRARY:libm.so.6$"
run 0 "$TOOL" run printf '%s\n' -x --heap --help
says '^-x$'
says '^--help$'
run 0 "$TOOL" run -- printf '%s\n' -x
says '^-x$'
run 0 "$TOOL" help run
says '\[--\] PROGRAM \[ARGUMENT\]'

run 3 "$TOOL" run -- sh -c 'exit 3'
run 127 "$TOOL" run no-such-program
warns '^alps: run: no-such-program: No such file'
run 126 "$TOOL" run "$dir"
warns 'Permission denied'
run 2 "$TOOL" run
warns 'no PROGRAM is given'
run 2 "$TOOL" run --json true
warns 'unknown or ambiguous option --json'
run 2 "$TOOL" run --size 4Q true
warns '--size 4Q: not a size'
run 2 "$TOOL" run --heap '' true
warns '--heap : empty'
run 125 "$TOOL" run --heap "$dir/no/heap" ls
warns "^libalps-malloc: $dir/no/heap: "
echo text >"$dir/text"
run 125 "$TOOL" run --heap "$dir/text" ls
warns 'not an ALPS heap'

run 0 "$TOOL" run --size 64M "$FILL" 57
says '^57$'
run 0 "$TOOL" run --heap "$dir/heap" --size 256M "$FILL" 200
run 0 "$TOOL" info "$dir/heap"
says 'capacity +25[56]\.[0-9] MiB'

# What the tool does to its signals and streams is not passed on.
run 141 "$TOOL" run sh -c 'kill -s PIPE $$'
run 0 bash -c 'exec "$@" <&-' - "$TOOL" run sh -c '[ -e /proc/$$/fd/0 ] || echo closed'
says '^closed$'

# Many at a time make one heap, and all that they start uses it.
for i in {1..8}; do
    "$TOOL" run --heap "$dir/many" sh -c '"$0" 20; true' "$FILL" >"$dir/many.$i" 2>&1 &
done
wait
equals "figures of 20 MiB" "$(cat "$dir"/many.? | grep -c '^20$')" 16
run 0 "$TOOL" check "$dir/many"

verdict

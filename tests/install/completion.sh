#!/usr/bin/env bash
# What bash completes after the commands of ALPS: the functions that it would call are called.
. "$(dirname "$0")/installed.sh"

completions=$prefix/share/bash-completion/completions
PATH=$prefix/bin:$PATH

# completes WANTED WORD...: bash offers the words WANTED in place of the last WORD.
completes() {
    local wanted=$1 definition function
    shift
    definition=$(complete -p "$1") || complain "no completion of $1"
    function=${definition##*-F }
    COMP_WORDS=("$@") COMP_CWORD=$(($# - 1))
    "${function%% *}"
    equals "$* is completed to" "${COMPREPLY[*]}" "$wanted"
}

# shellcheck source=/dev/null
. "$completions/alps"
completes 'create check commit' alps c
completes 'walk' alps w
completes 'bulk-free' alps help bu
completes '--size --shared' alps create --s
completes '--generation' alps bulk-free --g
completes '--version' alps --v
completes '' alps info /dev/sh
completes '' alps nonsense --s
equals 'offered commands' "$(COMP_WORDS=(alps '') COMP_CWORD=1; _alps; echo "${#COMPREPLY[@]}")" \
    "$(($(alps --help | sed -n '/^Commands:/,/^$/p' | grep -c '^  ') + 3))"

# shellcheck source=/dev/null
. "$completions/emu-testbed"
completes 'kill' emu-testbed k
completes 'resume run' emu-testbed r
completes '--nodes --numa' emu-testbed run --n

for program in "$prefix"/bin/*; do
    name=${program##*/}
    [[ $name != alps && $name != emu-testbed ]] || continue
    # shellcheck source=/dev/null
    . "$completions/$name"
    completes '--json' "$name" --js
done
verdict

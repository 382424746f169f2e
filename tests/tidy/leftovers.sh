#!/usr/bin/env bash
# Marks of unfinished work, and white space that nobody sees.
. "$(dirname "$0")/common.sh"
cd "$1"

list code '*.[ch]' '*.inc' '*.[ch]pp'
list texts '*.[ch]' '*.inc' '*.[ch]pp' '*.sh' '*.cmake' '*CMakeLists.txt' '*.json' '*.md' '*.gp' \
    '*.map' '*.in' 'scripts/*' '.ci/*' run check

# at PATTERN FILE...: where lines match.
at() {
    grep -HnE -e "$@" | cut -d: -f1-2 || true
}
problem_at_each "a note of unfinished work" < <(at '\b(TOD[O]|FIXM[E]|XX[X])\b' "${texts[@]}")
problem_at_each "white space at the end" < <(at '[[:space:]]$' "${texts[@]}")
problem_at_each "a tab" < <(at $'\t' "${code[@]}")
problem_at_each "longer than 100 columns" < <(at '.{101}' "${code[@]}")
for file in "${texts[@]}"; do
    [ -z "$(tail -c 1 "$file")" ] || problem "$file" "no end of line at the end"
done
verdict

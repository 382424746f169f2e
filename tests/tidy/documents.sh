#!/usr/bin/env bash
# What documents point to is there, files and headings; and their pieces of C, those of one document
# in a row, compile without a warning.
. "$(dirname "$0")/common.sh"
cd "$1"
list documents '*.md'

# headings FILE: what links name them by.
headings() {
    sed -n '/^```/,/^```/!s/^##* //p' "$1" | tr '[:upper:]' '[:lower:]' |
        sed 's/[^a-z0-9_ -]//g; s/ /-/g'
}

# links FILE: what stands in round brackets after square ones.
links() {
    sed '/^```/,/^```/d; /^    /d; s/`[^`]*`//g' "$1" | grep -oE '\]\([^)]+\)' | sed 's/^](//; s/)$//'
}

for document in "${documents[@]}"; do
    while read -r link; do
        file=${link%%#*}
        target=$document
        [ -z "$file" ] || target=$(dirname "$document")/$file
        if [[ $link == *://* ]]; then
            continue
        elif [ ! -e "$target" ]; then
            problem "$document" "there is no $link"
        elif [[ $link == *#* ]] && ! headings "$target" | grep -qx -- "${link#*#}"; then
            problem "$document" "$file has no heading for $link"
        fi
    done < <(links "$document")

    code=$(sed -n '/^```c$/,/^```$/{/^```/!p}' "$document")
    "$CC" -x c -std=gnu17 -Ialps/include -Iemu/include -fsyntax-only -Wall -Wextra -Werror - \
        <<<"$code" || problem "$document" "its C does not compile"
done
verdict

# What the tidy checks share. A check is called with the root of the tree to look at.
# shellcheck shell=bash
set -euo pipefail
export LC_ALL=C CC=${CC:-cc} CXX=${CXX:-c++}

problems=0

# problem WHERE WHAT
problem() {
    echo "$1: $2"
    problems=$((problems + 1))
}

# Reads "WHERE" lines, each of which has the problem WHAT.
problem_at_each() {
    local where
    while read -r where; do
        problem "$where" "$1"
    done
}

verdict() {
    if [ $problems -gt 0 ]; then
        echo "$problems problems"
        exit 1
    fi
    exit 0
}

# list ARRAY PATTERN...: the tree's files with such names that are, or may become, part of the
# project. None at all is an error.
list() {
    local -n found=$1
    local all file pattern
    found=()
    shift
    all=$(git ls-files --cached --others --exclude-standard 2>/dev/null) ||
        all=$(find . \( -path ./build -o -path ./out \) -prune -o -type f -printf '%P\n')
    while read -r file; do
        for pattern in "$@"; do
            # shellcheck disable=SC2053 # the right side is a pattern
            if [[ $file == $pattern && -f $file ]]; then
                found+=("$file")
                break
            fi
        done
    done < <(sort <<<"$all")
    if [ ${#found[@]} -eq 0 ]; then
        echo "no files like $* in $PWD"
        exit 1
    fi
}

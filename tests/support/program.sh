# What tests of programs share; to be sourced. They get a directory of their own in shared memory,
# $dir, which is gone in the end; a test with more to clean up defines clean_up. Last comes verdict.
# shellcheck shell=bash
set -u
export LC_ALL=C

parent=/dev/shm
[ -w "$parent" ] || parent=${TMPDIR:-/tmp}
dir=$(mktemp -d "$parent/alps-test.XXXXXX") || exit 1
clean_up() {
    :
}
trap 'clean_up; rm -rf "$dir"' EXIT
trap 'exit 1' INT TERM

checks=0
failures=0

# Says what went wrong, and in which line of the test.
complain() {
    local frame=0
    while [ "${BASH_SOURCE[frame + 1]}" != "$0" ]; do
        frame=$((frame + 1))
    done
    failures=$((failures + 1))
    echo "line ${BASH_LINENO[frame]}: $1" >&2
    echo "  stdout: $(head -c 600 "$dir/out")" >&2
    echo "  stderr: $(head -c 600 "$dir/err")" >&2
}

# run STATUS COMMAND...
run() {
    local status=$1 got
    shift
    checks=$((checks + 1))
    "$@" >"$dir/out" 2>"$dir/err" </dev/null
    got=$?
    [ "$got" -eq "$status" ] || complain "$*: exit code $got, not $status"
}

# says REGEX, warns REGEX: the last run's stdout or stderr has a line like it.
says() {
    checks=$((checks + 1))
    grep -Eq -- "$1" "$dir/out" || complain "stdout has nothing like: $1"
}
warns() {
    checks=$((checks + 1))
    grep -Eq -- "$1" "$dir/err" || complain "stderr has nothing like: $1"
}

# is_json [FILE]: every line of it, or of the last run's stdout, is an object in strict JSON.
is_json() {
    local file=${1:-$dir/out}
    checks=$((checks + 1))
    [ -s "$file" ] || complain "no JSON at all"
    if command -v python3 >/dev/null; then
        python3 -c '
import json, sys
def refuse(pairs):
    assert len(dict(pairs)) == len(pairs), "a key twice"
    return dict(pairs)
for line in open(sys.argv[1], encoding="utf-8", newline="\n"):
    assert line.endswith("\n"), "no end of line"
    assert isinstance(json.loads(line, object_pairs_hook=refuse), dict), "not an object"
' "$file" >"$dir/json" 2>&1 || complain "no strict JSON: $(tail -1 "$dir/json")"
    elif grep -Evq '^\{"[^[:cntrl:]]*\}$' "$file"; then
        complain "not an object on every line"
    fi
}

# field KEY: the number after the key, in the last run's JSON.
field() {
    sed -n "s/.*\"$1\":\([0-9]*\).*/\1/p" "$dir/out" | head -1
}

# lines PATTERN FILE: how many lines match.
lines() {
    grep -Ec -- "$1" "$2"
}

# equals WHAT GOT WANTED
equals() {
    checks=$((checks + 1))
    [ "$2" = "$3" ] || complain "$1: $2, not $3"
}

verdict() {
    if [ "$failures" -gt 0 ]; then
        echo "$failures of $checks checks failed" >&2
        exit 1
    fi
    echo "$checks checks passed"
    exit 0
}

#!/usr/bin/env bash
# change.sh SCRIPT SOURCE TARGET: TARGET becomes SOURCE, changed by the perl script; it is an error if
# that changes nothing, as when the source no longer has what the canary is about.
set -euo pipefail
mkdir -p "$(dirname "$3")"
perl -0p "$1" "$2" >"$3"
if cmp -s "$2" "$3"; then
    rm "$3"
    echo "$(basename "$1") changes nothing in $(basename "$2"): adapt it" >&2
    exit 1
fi

#!/usr/bin/env bash
# Runs TEST_CPP in a directory of its own, and looks whether anything is left there.
. "$(dirname "$0")/../support/program.sh"

mkdir "$dir/heaps"
run 0 "${TEST_CPP:?}" "$dir/heaps"
says '^passed$'
equals 'what is left' "$(ls "$dir/heaps")" ''
verdict

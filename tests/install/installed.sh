# What tests of the installed tree share; to be sourced. BUILD is the build directory; the tree lies
# in $prefix, where nothing was told that it would.
# shellcheck shell=bash
. "$(dirname "${BASH_SOURCE[0]}")/../support/program.sh"

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
prefix=$dir/moved
run 0 cmake --install "${BUILD:?}" --prefix "$dir/first"
mv "$dir/first" "$prefix" || exit 1

# What is installed under a directory, in a line.
installed_in() {
    (cd "$prefix/$1" && find . -type f,l -printf '%P\n' | sort | tr '\n' ' ')
}
libdir=$(dirname "$(dirname "$(find "$prefix" -name alps.pc)")")

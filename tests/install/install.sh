#!/usr/bin/env bash
# The installed library, moved elsewhere, serves a user's CMake project and pkg-config, in C and in
# C++. BUILD is the build directory to install from.
set -euo pipefail

source=$(cd "$(dirname "$0")" && pwd)/user
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT

cmake --install "$BUILD" --prefix "$dir/first" >/dev/null
mv "$dir/first" "$dir/prefix"

cmake -S "$source" -B "$dir/build" -DCMAKE_PREFIX_PATH="$dir/prefix" \
    -DCMAKE_C_COMPILER="$CC" -DCMAKE_CXX_COMPILER="$CXX" -DCMAKE_C_FLAGS="$FLAGS" \
    -DCMAKE_CXX_FLAGS="$FLAGS" >"$dir/log" || { cat "$dir/log"; exit 1; }
cmake --build "$dir/build"
"$dir/build/user_c"
"$dir/build/user_cpp"

config=$(find "$dir/prefix" -name alps.pc)
PKG_CONFIG_PATH=$(dirname "$config")
export PKG_CONFIG_PATH
# shellcheck disable=SC2046 # words are meant
"$CC" $FLAGS "$source/main.c" -o "$dir/user" $(pkg-config --cflags --libs alps) \
    "-Wl,-rpath,$(pkg-config --variable=libdir alps)"
"$dir/user"

headers=$(cd "$dir/prefix/include" && find . -type f | sort | tr '\n' ' ')
[ "$headers" = "./alps/alps.h ./alps/fast.h " ] || { echo "headers installed: $headers"; exit 1; }

# The tool finds the library for programs of any kind.
if [ -e "$(dirname "$config")/../libalps-malloc.so" ]; then
    "$dir/prefix/bin/alps" run env | grep -q "^LD_PRELOAD=$dir/prefix/.*libalps-malloc.so"
fi

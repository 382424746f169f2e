#!/usr/bin/env bash
# The installed libraries, moved elsewhere, serve users by CMake and by pkg-config, in C and in C++,
# shared and static; what is shared has versions, what is static only the API's names. CC and CXX
# compile, with FLAGS.
. "$(dirname "$0")/installed.sh"

# configure OPTION...: the user's project.
configure() {
    cmake -S "$here/user" -B "$dir/build" -DCMAKE_PREFIX_PATH="$prefix" \
        -DCMAKE_C_COMPILER="$CC" -DCMAKE_CXX_COMPILER="$CXX" -DCMAKE_C_FLAGS="$FLAGS" \
        -DCMAKE_CXX_FLAGS="$FLAGS" "$@"
}

run 0 configure
run 0 cmake --build "$dir/build"
for user in user_c user_cpp user_static user_emu; do
    run 0 "$dir/build/$user"
    says '^0\.1\.0$'
done
run 1 configure -DWANTED=0.9
warns 'requested version "0.9"'
run 1 configure -DWANTED=0.1 -DCOMPONENT=nothing
warns 'without its component nothing'

export PKG_CONFIG_PATH=$libdir/pkgconfig
flags() {
    pkg-config "$@" || echo "pkg-config-fails"
}
equals 'version of the package' "$(flags --modversion alps)" 0.1.0
equals 'where the package lies' "$(realpath "$(flags --variable=libdir alps)")" "$(realpath "$libdir")"
# shellcheck disable=SC2046,SC2086 # words are meant
{
    run 0 "$CC" $FLAGS "$here/user/main.c" -o "$dir/user" $(flags --cflags --libs alps) \
        "-Wl,-rpath,$libdir"
    run 0 "$dir/user"
    run 0 "$CXX" $FLAGS -std=c++17 "$here/user/main.cpp" -o "$dir/user" \
        $(flags --cflags --libs alps) "-Wl,-rpath,$libdir"
    run 0 "$dir/user"
    run 0 "$CC" $FLAGS "$here/user/emu.c" -o "$dir/user" $(flags --cflags --libs emu) \
        "-Wl,-rpath,$libdir"
    run 0 "$dir/user"
    if [[ $FLAGS != *-fsanitize* ]]; then # whose libraries are not static
        run 0 "$CC" $FLAGS -static "$here/user/main.c" -o "$dir/user" \
            $(flags --static --cflags --libs alps)
        run 0 "$dir/user"
    fi
}

headers='alps/alps.h alps/alps.hpp alps/fast.h emu/emu.h emu/topology.h '
equals 'headers installed' "$(installed_in include)" "$headers"
equals 'name of the library' \
    "$(readelf -d "$libdir/libalps.so" | sed -n 's/.*SONAME.*\[\(.*\)\]/\1/p')" libalps.so.0
equals 'names without a version' \
    "$(nm -D --defined-only "$libdir/libalps.so" | grep -v '@@ALPS_[0-9]\|A ALPS_[0-9]')" ''
equals 'names of the static library that may clash' \
    "$(nm -g --defined-only "$libdir/libalps.a" | grep '^[0-9a-f]* [A-Z] ' | grep -v ' alps_')" ''

# Programs find their libraries and data.
run 0 "$prefix/bin/alps" create --size 16M "$dir/heap"
run 0 "$prefix/bin/alps" check "$dir/heap"
run 0 "$prefix/bin/emu-topology" --profiles
run 0 "$prefix/bin/emu-testbed" --help
if [ -e "$libdir/libalps-malloc.so" ]; then
    run 0 "$prefix/bin/alps" run env
    says "^LD_PRELOAD=$(realpath "$libdir")/libalps-malloc\.so$"
fi
if [ -x "$prefix/bin/alps-bench" ] && [[ $FLAGS != *-fsanitize* ]]; then
    run 0 "$prefix/bin/alps-bench" --workloads trace --backends alps --rounds 1 --scale 0.01
    run 0 "$prefix/bin/alps-bench" --workloads lifo --emu cxl-switch --rounds 1 --scale 0.01
fi
verdict

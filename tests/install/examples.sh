#!/usr/bin/env bash
# The examples, as they are installed, are built against what is installed, without a warning, and
# run. CC and CXX compile, with FLAGS.
. "$(dirname "$0")/installed.sh"

options=()
if [[ $FLAGS == *-fsanitize* ]]; then # which find what MPI itself leaks
    options=(-DCMAKE_DISABLE_FIND_PACKAGE_MPI=ON)
fi
warnings='-Wall -Wextra -Wpedantic -Wshadow -Wconversion -Werror'
run 0 cmake -S "$prefix/share/doc/alps/examples" -B "$dir/build" -DCMAKE_PREFIX_PATH="$prefix" \
    -DCMAKE_C_COMPILER="$CC" -DCMAKE_CXX_COMPILER="$CXX" \
    -DCMAKE_C_FLAGS="$FLAGS $warnings" -DCMAKE_CXX_FLAGS="$FLAGS $warnings" "${options[@]}"
run 0 cmake --build "$dir/build"
run 0 ctest --test-dir "$dir/build" --no-tests=error --output-on-failure
says '100% tests passed'
verdict

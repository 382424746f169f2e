#!/usr/bin/env bash
# Each public header compiles alone, without a warning, as C and as C++, by the compilers CC and
# CXX.
. "$(dirname "$0")/common.sh"
cd "$1"

options=(-Ialps/include -fsyntax-only -Wall -Wextra -Wpedantic -Wshadow -Wundef -Werror)
for header in alps/include/alps/*.h; do
    include="#include <${header#alps/include/}>"
    "$CC" -x c -std=c99 "${options[@]}" - <<<"$include" || problem "$header" "does not compile as C"
    "$CXX" -x c++ -std=c++11 "${options[@]}" - <<<"$include" ||
        problem "$header" "does not compile as C++"
done
verdict

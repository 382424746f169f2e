#!/usr/bin/env bash
# Each public header compiles alone, without a warning, as C and as C++ (those of C++ in all versions
# from 17), by the compilers CC and CXX.
. "$(dirname "$0")/common.sh"
cd "$1"

options=(-Ialps/include -Iemu/include -fsyntax-only -Wall -Wextra -Wpedantic -Wshadow -Wundef -Werror)
shopt -s nullglob
for header in {alps,emu}/include/*/*.h; do
    include="#include <${header#*/include/}>"
    "$CC" -x c -std=c99 "${options[@]}" - <<<"$include" || problem "$header" "does not compile as C"
    "$CXX" -x c++ -std=c++11 "${options[@]}" - <<<"$include" ||
        problem "$header" "does not compile as C++"
done
for header in {alps,emu}/include/*/*.hpp; do
    for standard in 17 20 2b; do
        "$CXX" -x c++ -std=c++$standard "${options[@]}" -Wconversion - \
            <<<"#include <${header#*/include/}>" ||
            problem "$header" "does not compile as C++$standard"
    done
done
verdict

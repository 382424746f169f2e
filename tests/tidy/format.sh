#!/usr/bin/env bash
# The C and C++ files are as clang-format leaves them. Other versions than 14 differ in details.
. "$(dirname "$0")/common.sh"
cd "$1"

formatter=$(command -v clang-format-14 || command -v clang-format || true)
if [[ $("${formatter:-true}" --version) != *'version 14.'* ]]; then
    echo "skipped tidy.format: clang-format 14 is not installed"
    exit 77
fi
list sources '*.[ch]' '*.[ch]pp'
for file in "${sources[@]}"; do
    "$formatter" --style=file "$file" | cmp -s - "$file" ||
        problem "$file" "not as clang-format leaves it"
done
verdict

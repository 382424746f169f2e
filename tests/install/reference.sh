#!/usr/bin/env bash
# Doxygen makes the reference without a warning, and each function of the library is in it. SOURCE is
# the tree.
. "$(dirname "$0")/../support/program.sh"

if ! command -v doxygen >/dev/null; then
    echo "skipped install.reference: doxygen is not installed"
    exit 77
fi
cd "${SOURCE:?}" || exit 1
run 0 env ALPS_REFERENCE="$dir" doxygen doc/Doxyfile
equals 'what doxygen says' "$(cat "$dir/out" "$dir/err")" ''
while read -r function; do
    checks=$((checks + 1))
    grep -q ">$function<" "$dir/html/alps_8h.html" || complain "$function is not in the reference"
done < <(grep -oE '\balps_[a-z_]+\(' alps/include/alps/alps.h | tr -d '(' | sort -u |
    grep -vE '_call$|alps_fast_')
[ "$checks" -gt 40 ] || complain "only $checks functions were looked at"
grep -q 'pointer that holds how far it is' "$dir/html/classalps_1_1ptr.html" ||
    complain "alps::ptr is not in the reference"
verdict

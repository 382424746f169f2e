#!/usr/bin/env bash
# Each tidy check accepts a small clean tree and refuses it with one thing wrong.
set -euo pipefail
export LC_ALL=C CC=${CC:-cc} CXX=${CXX:-c++}

checks=$(cd "$(dirname "$0")" && pwd)
tree=$(mktemp -d)
trap 'rm -rf "$tree"' EXIT
export LIBRARY=$tree/libalps.so
passed=0 failed=0

clean_tree() {
    rm -rf "$tree"
    mkdir -p "$tree"/alps/{include/alps,src,tools} "$tree"/bench/harness "$tree"/{emu,mpi,tests}
    cd "$tree"
    cat "$checks/../../.clang-format" >.clang-format
    echo '#include <stdint.h>' >alps/include/alps/hooks.h
    printf '%s\n' '/* clang-format off */' \
        '#define ALPS_API __attribute__((visibility("default")))' \
        'ALPS_API int alps_free(int block);' 'ALPS_API int' 'alps_walk(int (*visit)(int));' \
        '/* clang-format on */' >alps/include/alps/alps.h
    echo 'int fam_x; /* __atomic volatile */' >alps/src/fam.h
    printf '%s\n' '#include "fam.h"' '#include <alps/hooks.h>' >alps/src/fam_hooks.c
    echo '#include "fam.h"' >alps/src/slab.h
    echo '#include "slab.h"' >alps/src/heap.h
    printf '%s\n' '#include "error.h"' '#include "heap.h"' '#include <alps/alps.h>' \
        >alps/src/heap_open.c
    echo 'int error_x;' >alps/src/error.h
    echo 'int word; /* DRAM: __atomic */' >alps/src/cache.c
    echo 'int clock_x;' >bench/harness/clock.h
    printf '%s\n' '#include "harness/clock.h"' '#include <alps/alps.h>' >bench/main.c
    printf '%s\n' '#include "harness/clock.h"' '#include <alps/alps.h>' >mpi/driver.c
    printf '%s\n' '#include <alps/hooks.h>' '#include <time.h>' >emu/spin.c
    echo '#include "../alps/src/slab.h"' >tests/test.h
    printf '%s\n' '# A b' '[x](#a-b), [y](tests/test.h)' '```c' 'int x;' '```' >README.md
}

result() {
    if [ "$1" -eq 0 ]; then
        passed=$((passed + 1))
    else
        failed=$((failed + 1))
        echo "FAILED  $2"
        cat "$tree/log"
    fi
}

accepts() {
    local status=0
    clean_tree
    [ "$1" != exports ] || library 'int alps_free(int b){return b;} int alps_walk(int b){return b;}'
    "$checks/$1.sh" "$tree" >"$tree/log" 2>&1 || status=$?
    [ $status -ne 77 ] || status=0
    result $status "$1 accepts a clean tree"
}

# refuses CHECK FILE LINE: with the line added to the file, the check fails and names the file.
refuses() {
    local status=0
    clean_tree
    printf '%b\n' "$3" >>"$2"
    "$checks/$1.sh" "$tree" >"$tree/log" 2>&1 || status=$?
    [ $status -ne 77 ] || return 0
    [ $status -eq 1 ] && grep -q "^$2" "$tree/log" && status=0
    result $status "$1 refuses '$3' in $2"
}

library() {
    "$CC" -shared -fPIC -x c - -o "$LIBRARY" <<<"$1"
}

# refuses_library SYMBOL SOURCE: exports fails on the library made of the source, for the symbol.
refuses_library() {
    local status=0
    clean_tree
    library "$2"
    "$checks/exports.sh" "$tree" >"$tree/log" 2>&1 || status=$?
    [ $status -eq 1 ] && grep -q "^$1: " "$tree/log" && status=0
    result $status "exports refuses '$2'"
}

accepts layers
refuses layers alps/src/fam.h '#include "slab.h"'
refuses layers alps/src/slab.h '#  include "heap.h"'
refuses layers alps/src/error.h '#include "fam.h"'
refuses layers alps/src/fam.h '#include <alps/alps.h>'
refuses layers alps/src/slab.h '#include <alps/hooks.h>'
refuses layers alps/src/slab.h '#include "absent.h"'
refuses layers alps/src/heap_open.c '#include "../../bench/harness/clock.h"'
refuses layers alps/src/misc.c 'int x;'
refuses layers alps/src/slab.h 'int x = alps_free(0);'
refuses layers alps/include/alps/alps.h '#include <alps/hooks.h>'
refuses layers alps/tools/main.c '#include "heap.h"'
refuses layers alps/include/alps/alps.hpp '#include <alps/hooks.h>'
refuses layers bench/harness/clock.h '#include <alps/alps.h>'
refuses layers bench/main.c '#include "test.h"'
refuses layers bench/main.c '#include <alps/hooks.h>'
refuses layers mpi/driver.c '#include "main.h"'
refuses layers emu/spin.c '#include "harness/clock.h"'
refuses layers emu/spin.c '#include "tests/test.h"'

accepts atomics
refuses atomics alps/src/slab.h 'uint64_t x = __atomic_load_n(p, __ATOMIC_RELAXED);'
refuses atomics alps/src/cache.c '#include <stdatomic.h>'
refuses atomics alps/src/heap_open.c 'volatile int x;'

accepts leftovers
refuses leftovers alps/src/slab.h '/* TOD''O: all of it */'
refuses leftovers bench/main.c '// FIXM''E'
refuses leftovers alps/src/slab.h 'int x; '
refuses leftovers alps/src/slab.h '\tint x;'
refuses leftovers alps/src/slab.h "$(printf '%0101d' 0)"
refuses leftovers alps/src/slab.h 'int x;\n\\c'
refuses leftovers README.md 'trailing '

accepts format
refuses format alps/src/slab.h 'int  x ;'

accepts headers
refuses headers alps/include/alps/hooks.h 'size_t missing_include;'
refuses headers alps/include/alps/hooks.h 'int new;'
refuses headers alps/include/alps/alps.hpp 'std::size_t missing_include;'
refuses headers alps/include/alps/alps.h 'int f(void) { int x; return 0; }'

accepts documents
refuses documents README.md '[z](none.md)'
refuses documents README.md '[z](#none)'
refuses documents README.md '```c\nint y\n```'

accepts exports
refuses_library alps_free 'int alps_walk(int b){return b;}'
refuses_library slab_x 'int slab_x; int alps_free(int b){return b;} int alps_walk(int b){return b;}'

echo "$passed passed, $failed failed, 0 skipped"
[ $failed -eq 0 ]

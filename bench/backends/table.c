#include "backend.h"

#include <backends.h> /* which CMake has made */

/* X(name) for each backend. */
#define DECLARE(name) extern const struct backend backend_##name;
#define LIST(name) &backend_##name,

BENCH_BACKENDS(DECLARE)

const struct backend *const backends[] = {BENCH_BACKENDS(LIST) NULL};

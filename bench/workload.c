#include "workload.h"

#define WORKLOAD_ROW(id, ...) [WORKLOAD_##id] = {__VA_ARGS__},

const struct workload workloads[WORKLOAD_COUNT] = {WORKLOADS(WORKLOAD_ROW)};

#include "workload.h"

#define WORKLOAD_ROW(name, ...) [WORKLOAD_##name] = {#name, __VA_ARGS__},

const struct workload workloads[WORKLOAD_COUNT] = {WORKLOADS(WORKLOAD_ROW)};

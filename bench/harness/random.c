#include "harness/random.h"

#include <math.h>

void bh_rng_seed(bh_rng_t *rng, uint64_t seed, uint64_t stream)
{
    /* splitmix64 from a start that differs in about half its bits for each seed and stream. */
    uint64_t x = bh_mix64(bh_mix64(seed) + stream);

    for (size_t i = 0; i < 4; i++) {
        x += UINT64_C(0x9e3779b97f4a7c15);
        rng->state[i] = bh_mix64(x);
    }
}

void bh_rng_permutation(bh_rng_t *rng, uint32_t *order, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        uint32_t j = (uint32_t)bh_rng_below(rng, (uint64_t)i + 1);
        order[i] = order[j];
        order[j] = i;
    }
}

uint64_t bh_rng_log_uniform(bh_rng_t *rng, uint64_t least, uint64_t most)
{
    double ratio = ((double)most + 1) / (double)least;
    double number = (double)least * exp(bh_rng_unit(rng) * log(ratio));

    return number < (double)most ? (uint64_t)number : most;
}

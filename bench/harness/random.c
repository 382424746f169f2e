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

void bh_zipf_start(bh_zipf_t *zipf, uint64_t count, double skew)
{
    *zipf = (bh_zipf_t){.count = count, .skew = skew, .half = pow(0.5, skew)};
    for (uint64_t i = count; i > 0; i--) /* the small terms first */
        zipf->zeta += pow((double)i, -skew);
    zipf->eta = (1 - pow(2 / (double)count, 1 - skew)) / (1 - (1 + zipf->half) / zipf->zeta);
}

uint64_t bh_zipf_draw(const bh_zipf_t *zipf, bh_rng_t *rng)
{
    const double unit = bh_rng_unit(rng), scaled = unit * zipf->zeta;

    if (scaled < 1 || zipf->count == 1)
        return 0;
    if (scaled < 1 + zipf->half || zipf->count == 2)
        return 1;
    const double number =
        (double)zipf->count * pow(zipf->eta * unit - zipf->eta + 1, 1 / (1 - zipf->skew));
    return number < (double)zipf->count ? (uint64_t)number : zipf->count - 1;
}

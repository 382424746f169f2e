/* Random numbers that can be repeated: xoshiro256** (Blackman, Vigna), seeded by splitmix64. */
#ifndef BH_RANDOM_H
#define BH_RANDOM_H

#include <stddef.h>
#include <stdint.h>

typedef struct bh_rng {
    uint64_t state[4];
} bh_rng_t;

/* Starts the generator. Different streams (ranks, threads) of one seed are unrelated. */
void bh_rng_seed(bh_rng_t *rng, uint64_t seed, uint64_t stream);

/* Fills order with the numbers 0 .. count - 1 in random order. */
void bh_rng_permutation(bh_rng_t *rng, uint32_t *order, uint32_t count);

/* In least .. most, least > 0. Every doubling is as likely as any other: most numbers are small. */
uint64_t bh_rng_log_uniform(bh_rng_t *rng, uint64_t least, uint64_t most);

/* Zipf's law: number i of 0 .. count - 1 is drawn with a chance proportional to 1 / (i + 1)^skew,
 * as Gray et al. (1994) approximate it. */
typedef struct bh_zipf {
    uint64_t count;
    double skew, zeta, half, eta;
} bh_zipf_t;

/* count > 0; skew in [0, 1), 0 is uniform. Takes time proportional to count. */
void bh_zipf_start(bh_zipf_t *zipf, uint64_t count, double skew);
uint64_t bh_zipf_draw(const bh_zipf_t *zipf, bh_rng_t *rng);

/* A hash of one number: a bijection in which every bit of x touches every bit of the result. */
static inline uint64_t bh_mix64(uint64_t x)
{
    x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
    return x ^ (x >> 31);
}

/* 64 random bits. */
static inline uint64_t bh_rng_next(bh_rng_t *rng)
{
    uint64_t *s = rng->state;
    uint64_t scrambled = s[1] * 5;
    uint64_t shifted = s[1] << 17;

    scrambled = ((scrambled << 7) | (scrambled >> 57)) * 9;
    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= shifted;
    s[3] = (s[3] << 45) | (s[3] >> 19);
    return scrambled;
}

/* Uniform in 0 .. bound - 1; bound is not 0. Exactly uniform: draws again where a bias would be
 * (Lemire). */
static inline uint64_t bh_rng_below(bh_rng_t *rng, uint64_t bound)
{
    __extension__ typedef unsigned __int128 wide_t;
    wide_t product = (wide_t)bh_rng_next(rng) * bound;

    if ((uint64_t)product < bound) {
        uint64_t threshold = -bound % bound;
        while ((uint64_t)product < threshold)
            product = (wide_t)bh_rng_next(rng) * bound;
    }
    return (uint64_t)(product >> 64);
}

/* Uniform in first .. last, both included. */
static inline uint64_t bh_rng_between(bh_rng_t *rng, uint64_t first, uint64_t last)
{
    uint64_t span = last - first + 1;

    return span == 0 ? bh_rng_next(rng) : first + bh_rng_below(rng, span);
}

/* Uniform in [0, 1). */
static inline double bh_rng_unit(bh_rng_t *rng)
{
    return (double)(bh_rng_next(rng) >> 11) * 0x1p-53;
}

#endif

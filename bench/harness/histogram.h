/* A histogram of 64-bit values, for latencies.
 *
 * Buckets are log-linear: values below 64 have one each, every power of two above is cut into 64.
 * So a bucket's values differ by at most 1/64, for all of 0 .. 2^64 - 1, in a fixed array.
 *
 * Histograms merge by adding word by word, so MPI can do it: a bh_hist_t is BH_HIST_WORDS numbers
 * of type uint64_t and nothing else,
 *
 *     MPI_Reduce(&mine, &all, BH_HIST_WORDS, MPI_UINT64_T, MPI_SUM, 0, comm);
 */
#ifndef BH_HISTOGRAM_H
#define BH_HISTOGRAM_H

#include <stdint.h>

#define BH_HIST_BITS 6 /* an octave has 2^BH_HIST_BITS buckets */
#define BH_HIST_BUCKETS ((64 - BH_HIST_BITS + 1) << BH_HIST_BITS)
#define BH_HIST_WORDS (BH_HIST_BUCKETS + 1)

/* All zero is the empty histogram. */
typedef struct bh_hist {
    uint64_t buckets[BH_HIST_BUCKETS]; /* values recorded in each */
    uint64_t sum;                      /* of all values, modulo 2^64 */
} bh_hist_t;

static inline uint32_t bh_hist_bucket(uint64_t value)
{
    if (value >> BH_HIST_BITS == 0)
        return (uint32_t)value;
    uint32_t shift = 63 - (uint32_t)__builtin_clzll(value) - BH_HIST_BITS;
    return (shift << BH_HIST_BITS) + (uint32_t)(value >> shift);
}

static inline void bh_hist_record(bh_hist_t *hist, uint64_t value)
{
    hist->buckets[bh_hist_bucket(value)]++;
    hist->sum += value;
}

void bh_hist_merge(bh_hist_t *into, const bh_hist_t *from);

/* The functions below are 0 for an empty histogram. */

uint64_t bh_hist_count(const bh_hist_t *hist);
double bh_hist_mean(const bh_hist_t *hist);

/* The smallest value that at least the given fraction (0 .. 1) of the values do not exceed; 0 is
 * the minimum, 1 the maximum. The answer is the top of that value's bucket: never too small, at
 * most 1/64 too large. */
uint64_t bh_hist_quantile(const bh_hist_t *hist, double fraction);
uint64_t bh_hist_max(const bh_hist_t *hist);

#endif

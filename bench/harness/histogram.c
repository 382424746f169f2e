#include "harness/histogram.h"

#include <assert.h>
#include <math.h>

static_assert(sizeof(bh_hist_t) == BH_HIST_WORDS * sizeof(uint64_t), "nothing but words");

static uint64_t bucket_top(uint32_t bucket)
{
    uint32_t octave = bucket >> BH_HIST_BITS;
    uint32_t shift = octave == 0 ? 0 : octave - 1;
    uint64_t first = (uint64_t)(bucket - (shift << BH_HIST_BITS)) << shift;

    return first + ((UINT64_C(1) << shift) - 1);
}

void bh_hist_merge(bh_hist_t *into, const bh_hist_t *from)
{
    for (uint32_t i = 0; i < BH_HIST_BUCKETS; i++)
        into->buckets[i] += from->buckets[i];
    into->sum += from->sum;
}

uint64_t bh_hist_count(const bh_hist_t *hist)
{
    uint64_t count = 0;

    for (uint32_t i = 0; i < BH_HIST_BUCKETS; i++)
        count += hist->buckets[i];
    return count;
}

double bh_hist_mean(const bh_hist_t *hist)
{
    uint64_t count = bh_hist_count(hist);

    return count == 0 ? 0 : (double)hist->sum / (double)count;
}

uint64_t bh_hist_quantile(const bh_hist_t *hist, double fraction)
{
    uint64_t count = bh_hist_count(hist);
    uint64_t seen = 0;
    uint32_t last = 0; /* bucket in use */

    double rank = ceil(fraction * (double)count);
    for (uint32_t i = 0; i < BH_HIST_BUCKETS; i++) {
        if (hist->buckets[i] == 0)
            continue;
        seen += hist->buckets[i];
        last = i;
        if ((double)seen >= rank)
            break;
    }
    return count == 0 ? 0 : bucket_top(last);
}

uint64_t bh_hist_max(const bh_hist_t *hist)
{
    return bh_hist_quantile(hist, 1);
}

/* What a handful of measurements say. */
#ifndef BH_STATS_H
#define BH_STATS_H

#include <stddef.h>

typedef struct bh_stats {
    size_t count;
    double min, lower_quartile, median, upper_quartile, max;
    double mean;
    double deviation; /* of the sample: divided by count - 1; 0 for one value */
} bh_stats_t;

/* Sorts the values in place. Quartiles lie between values where they must. All fields are 0 if
 * count is. */
bh_stats_t bh_stats(double *values, size_t count);

/* The geometric mean, the one to use for ratios: NaN if count is 0 or a value is not positive. */
double bh_geometric_mean(const double *values, size_t count);

/* The spread of the middle half. */
static inline double bh_stats_iqr(const bh_stats_t *stats)
{
    return stats->upper_quartile - stats->lower_quartile;
}

#endif

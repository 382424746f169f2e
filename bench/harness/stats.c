#include "harness/stats.h"

#include <math.h>
#include <stdlib.h>

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a;
    double y = *(const double *)b;

    return (x > y) - (x < y);
}

static double quantile(const double *sorted, size_t count, double fraction)
{
    double position = fraction * (double)(count - 1);
    size_t below = (size_t)position;
    size_t above = below + 1 < count ? below + 1 : below;

    return sorted[below] + (position - (double)below) * (sorted[above] - sorted[below]);
}

bh_stats_t bh_stats(double *values, size_t count)
{
    bh_stats_t stats = {.count = count};
    double squares = 0;

    if (count == 0)
        return stats;
    qsort(values, count, sizeof *values, compare);
    stats.min = values[0];
    stats.lower_quartile = quantile(values, count, 0.25);
    stats.median = quantile(values, count, 0.5);
    stats.upper_quartile = quantile(values, count, 0.75);
    stats.max = values[count - 1];
    for (size_t i = 0; i < count; i++)
        stats.mean += values[i] / (double)count;
    for (size_t i = 0; i < count; i++)
        squares += (values[i] - stats.mean) * (values[i] - stats.mean);
    stats.deviation = count == 1 ? 0 : sqrt(squares / (double)(count - 1));
    return stats;
}

double bh_geometric_mean(const double *values, size_t count)
{
    double sum = 0;

    for (size_t i = 0; i < count; i++)
        sum += values[i] > 0 ? log(values[i]) : NAN;
    return count == 0 ? NAN : exp(sum / (double)count);
}

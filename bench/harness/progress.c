#include "harness/progress.h"

#include <stdio.h>
#include <unistd.h>

#include "harness/clock.h"

#define REDRAW_NS (100 * BH_NS_PER_MS)
#define BAR_WIDTH 24

void bh_progress_start(bh_progress_t *progress, uint64_t total)
{
    *progress = (bh_progress_t){
        .total = total,
        .start_ns = bh_clock_ns(),
        .visible = isatty(STDERR_FILENO) == 1,
    };
}

void bh_progress_update(bh_progress_t *progress, uint64_t done, const char *label)
{
    static const char full[] = "########################";
    uint64_t now_ns = bh_clock_ns();
    char remaining[24] = "";

    if (!progress->visible || now_ns - progress->shown_ns < REDRAW_NS)
        return;
    progress->shown_ns = now_ns;
    double part = progress->total == 0 ? 1 : (double)done / (double)progress->total;
    part = part > 1 ? 1 : part;
    if (done > 0) {
        double spent_s = (double)(now_ns - progress->start_ns) / (double)BH_NS_PER_S;
        uint64_t left_s = (uint64_t)(spent_s * (1 - part) / part + 0.5);
        snprintf(remaining, sizeof remaining, "%u:%02u left", (unsigned)(left_s / 60),
                 (unsigned)(left_s % 60));
    }
    fprintf(stderr, "\r\033[K[%-*.*s] %3.0f %%  %s  %s", BAR_WIDTH, (int)(part * BAR_WIDTH), full,
            part * 100, remaining, label == NULL ? "" : label);
    fflush(stderr);
}

void bh_progress_clear(bh_progress_t *progress)
{
    if (!progress->visible)
        return;
    fputs("\r\033[K", stderr);
    fflush(stderr);
    progress->shown_ns = 0;
}

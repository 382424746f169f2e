/* The mode epoch: its arithmetic, and what it says where there are no counters. */
#include "epoch.h"

#include <emu/emu.h>

#include <string.h>

#include "test.h"

TEST(epoch, stalls_grow_with_the_ratio_of_latencies)
{
    CHECK(epoch_delay_ns(1000, 10, 10, 100, 300) == 2000);
    CHECK(epoch_delay_ns(1000, 10, 5, 100, 300) == 1000); /* half of the loads were for others */
    CHECK(epoch_delay_ns(1000, 10, 20, 100, 300) == 2000);
    CHECK(epoch_delay_ns(1000, 10, 0, 100, 300) == 0);
    CHECK(epoch_delay_ns(1000, 0, 0, 100, 300) == 0);
    CHECK(epoch_delay_ns(1000, 10, 10, 300, 300) == 0);
    CHECK(epoch_delay_ns(1000, 10, 10, 300, 100) == 0);
}

TEST(epoch, without_counters_it_is_refused)
{
    const struct emu_options o = {
        .struct_size = sizeof o, .mode = EMU_EPOCH, .profile = "cxl-slow", .base_ns = 100};
    const int rc = emu_start(&o);
    if (rc == 0)
        SKIP("this machine has counters");
    CHECK_ERR(rc, -ENODEV);
    const char *text = emu_error_detail();
    CHECK(strstr(text, "no PMU") != NULL || strstr(text, "perf_event_paranoid") != NULL);
    CHECK_STR(emu_describe(), "off");
}

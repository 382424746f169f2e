/* Time, in nanoseconds. */
#ifndef BH_CLOCK_H
#define BH_CLOCK_H

#include <stdint.h>

#define BH_NS_PER_US UINT64_C(1000)
#define BH_NS_PER_MS UINT64_C(1000000)
#define BH_NS_PER_S UINT64_C(1000000000)

/* Time that passes, from some fixed point; never goes back. Processes of one machine agree on it.
 * */
uint64_t bh_clock_ns(void);

/* Time that the calling thread has spent on a processor. Leaves out what other programs took, and
 * what the thread slept. */
uint64_t bh_clock_thread_ns(void);

#endif

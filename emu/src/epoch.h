/* The arithmetic of the mode epoch. */
#ifndef EMU_EPOCH_H
#define EMU_EPOCH_H

/* What a thread is to wait that stalled so long for memory, with so many loads from memory and so
 * many of them from the far node, whose latency is base_ns and should be target_ns. */
double epoch_delay_ns(double stalled_ns, double loads, double remote, double base_ns,
                      double target_ns);

#endif

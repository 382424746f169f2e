/* The descriptors of a heap in a file, in programs that do not know of them.
 *
 * Idea: the heap's file is open for growth and for the lock that shows that this process lives. A
 * program that closes all descriptors it has not opened, as daemons and shells do, would lose its
 * heap to the next one who recovers it, or have its own files changed. So they have high numbers,
 * and what closes descriptors passes them by: to the program they are closed. Where the program
 * puts something on such a number they move. */
#include "process.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "heap.h"

#define EXPORT __attribute__((visibility("default")))

int __close(int fd);
int __dup2(int from, int to);

/* The heap's descriptors, one after the other; NULL: no more. */
static int *descriptor(unsigned i)
{
    if (process_heap == NULL || process_heap_is_private() || process_heap->pool.forked)
        return NULL;
    struct region *r = &heap_layout(process_heap)->region;
    return i < r->file_count ? &r->files[i].fd : i == r->file_count ? &r->lock_fd : NULL;
}

static int *find(int fd)
{
    int *own = NULL;
    for (unsigned i = 0; (own = descriptor(i)) != NULL && *own != fd; i++)
        ;
    return own;
}

/* A high number, that few programs use. */
static void move(int *own)
{
    struct rlimit limit;
    rlim_t most = getrlimit(RLIMIT_NOFILE, &limit) == 0 ? limit.rlim_cur : 0;
    most = most > 1024 ? 1024 : most;
    const int fd = most < 128 ? -1 : fcntl(*own, F_DUPFD_CLOEXEC, (int)most - 64);
    const int better = fd >= 0 ? fd : fcntl(*own, F_DUPFD_CLOEXEC, 3);
    if (better < 0)
        return;
    const int before = *own;
    *own = better;
    __close(before);
}

void descriptors_hide(void)
{
    int *own;
    for (unsigned i = 0; (own = descriptor(i)) != NULL; i++)
        move(own);
}

EXPORT int close(int fd)
{
    if (find(fd) == NULL)
        return __close(fd);
    errno = EBADF;
    return -1;
}

EXPORT int dup2(int from, int to)
{
    int *own = find(to);
    if (own != NULL && from != to)
        move(own);
    return __dup2(from, to);
}

EXPORT int dup3(int from, int to, int flags)
{
    int *own = find(to);
    if (own != NULL && from != to)
        move(own);
    return (int)syscall(SYS_dup3, from, to, flags);
}

EXPORT int close_range(unsigned first, unsigned last, int flags)
{
    /* Up to the lowest of ours, then beyond it. */
    for (;;) {
        unsigned lowest = UINT_MAX;
        int *own;
        for (unsigned i = 0; (own = descriptor(i)) != NULL; i++)
            if ((unsigned)*own >= first && (unsigned)*own <= last && (unsigned)*own < lowest)
                lowest = (unsigned)*own;
        if (lowest == UINT_MAX)
            return (int)syscall(SYS_close_range, first, last, flags);
        if (lowest > first && syscall(SYS_close_range, first, lowest - 1, flags) != 0)
            return -1;
        if (lowest == last)
            return 0;
        first = lowest + 1;
    }
}

EXPORT void closefrom(int first)
{
    first = first < 0 ? 0 : first;
    if (close_range((unsigned)first, UINT_MAX, 0) == 0)
        return;
    for (long fd = sysconf(_SC_OPEN_MAX) - 1; fd >= first; fd--)
        close((int)fd);
}

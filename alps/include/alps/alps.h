/* ALPS: a global symmetric heap on memory that several processes share.
 *
 * The model
 * ---------
 * A heap is one or more files (in /dev/shm, on hugetlbfs, on a DAX file system, or plain files)
 * that any number of processes map as one range of addresses. Each process may map it elsewhere,
 * so blocks are named by offsets from the heap's base (alps_ptr_t); alps_deref() turns one into an
 * address of this process, alps_ref() does the inverse.
 *
 * Any process allocates, any process frees, from any thread. Nothing is lost when a process is
 * killed: what it had allocated stays allocated, what it had in flight is given back by recovery.
 *
 * Each opening of the heap for writing is an instance and gets a number, its generation. Every
 * block belongs to the generation that allocated it, until it is freed (alps_free), freed together
 * with its whole generation (alps_bulk_free, the way to clean up after a crash), or made permanent
 * (alps_commit). Generation 0, ALPS_PERMANENT, is the generation of permanent blocks.
 *
 * Errors
 * ------
 * Functions that return int return 0 or a negative errno value. Functions that return alps_ptr_t
 * return ALPS_NULL and set errno to the positive value. alps_error_detail() tells more about the
 * last failure in the calling thread. The library prints nothing and never ends the process.
 *
 *   EINVAL        an argument is wrong: NULL, a size of no meaning, no such block, no such node
 *   EALREADY      the block has been freed already
 *   ENOMEM        the heap is full and cannot grow, the memory behind it is used up, or this
 *                 process has no addresses or memory left for its own book-keeping
 *   EMEDIUMTYPE   the file is not an ALPS heap
 *   EPROTONOSUPPORT  the heap has a layout version, byte order or page size this library cannot use
 *   EUCLEAN       the heap is damaged or truncated
 *   EFBIG         the heap is larger than this process can map
 *   EBUSY         somebody has the heap, or the generation, open
 *   EUSERS        all instance slots are taken by live instances
 *   ENOSPC        a table of the heap is full (generations, roots)
 *   ENOENT        no such file, generation or root
 *   EROFS         the heap was opened with ALPS_OPEN_READONLY
 *   ESTALE        somebody has declared this opening of the heap dead; all that is left is to close
 *                 it
 *   ECHILD        the handle belongs to the parent process; open the heap again after fork
 *   other         what the operating system said (EACCES, EEXIST, ELOOP, ...)
 *
 * Threads, signals, fork, exec, exit
 * ----------------------------------
 * All functions may be called from any thread at the same time on the same handle, except that
 * alps_heap_close and alps_heap_remap need the caller to keep other threads out of the handle.
 * A thread that ends gives back what it held; destructors of its thread-specific data may still
 * call everything. No function is a cancellation point; a thread with asynchronous cancellation
 * must not call any. No function is safe in a signal handler, and none may be left by longjmp or an
 * exception; signals that are handled otherwise interrupt nothing.
 * After fork, calls of the child through the parent's handle fail with ECHILD; the parent is not
 * affected, and the child keeps nothing of it alive. exec, and exit without alps_heap_close, end
 * the instances of the process as a crash does. Until then, handlers of atexit may use the heap.
 *
 * Crashes
 * -------
 * A process killed anywhere in any of these functions leaves a heap that the others go on using.
 * What the killed call has done by then is said with each function, after "Crash:".
 */
#ifndef ALPS_ALPS_H
#define ALPS_ALPS_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define ALPS_VERSION_MAJOR 0
#define ALPS_VERSION_MINOR 1
#define ALPS_VERSION_PATCH 0

#if defined(__GNUC__)
#define ALPS_API __attribute__((visibility("default")))
#else
#define ALPS_API
#endif

typedef uint64_t alps_ptr_t; /* offset in bytes from the heap's base; ALPS_NULL is no block */
typedef uint64_t alps_gen_t; /* number of a generation */
typedef struct alps_heap alps_heap_t;

#define ALPS_NULL ((alps_ptr_t)0)
#define ALPS_PERMANENT ((alps_gen_t)0)
#define ALPS_ANY_NODE (-1)
#define ALPS_NODE_MAX 1023    /* highest node number that a hint may name */
#define ALPS_ROOT_NAME_MAX 63 /* bytes in a root's name, without the final NUL */
#define ALPS_ROOT_MAX 1024    /* roots in one heap */
#define ALPS_FILE_MAX 64      /* files in one heap */
#define ALPS_ALIGNMENT_MAX ((size_t)1 << 30)

/* ---- creating, opening, closing ------------------------------------------------------------ */

/* Options of alps_heap_create. Zero in any field means its default; set struct_size to
 * sizeof(struct alps_create_options). */
struct alps_create_options {
    size_t struct_size;
    uint64_t size;       /* bytes of memory at first, management included; default 64 MiB, in
                               place all there is; at least 16 MiB */
    uint64_t capacity;   /* bytes the heap may grow to; default: size (no growth); at most 16 TiB */
    uint64_t zone_size;  /* bytes of a zone, the unit of NUMA placement: a power of two from
                               1 MiB to 4 GiB; default: by capacity */
    unsigned mode;       /* file permissions; default 0600 */
    const int *nodes;    /* NUMA nodes the zones are placed on in turn; NULL: where the kernel
                               puts them */
    unsigned node_count; /* length of nodes */
    unsigned max_instances; /* openings for writing at the same time; default by capacity,
                               at least 64; at most 16383. The heap remembers four times
                               as many generations, at least 4096 */
    unsigned flags;         /* ALPS_CREATE_... */
};

/* The heap survives power failures, where the memory behind it does. After one, whoever opens it
 * for writing first makes its tables whole, which takes time proportional to the heap in use. Then
 * - blocks that were committed (alps_commit had returned) and not freed are there, and permanent;
 *   the generation 0 is committed like any other: alps_commit(heap, ALPS_PERMANENT);
 * - blocks of generations that were not committed are there or not: free them in bulk;
 * - a block that was freed may be back, unless its generation's owner has committed since, or
 *   alps_free_from freed it; roots, alps_malloc_to and alps_free_from are durable when they return;
 * - contents are as the program made them durable: alps_persist.
 * Costs nothing on the path of malloc and of a free of one's own block. On files that are not
 * memory themselves (DAX, tmpfs, hugetlbfs, /dev/dax) durability takes an fdatasync each time. */
#define ALPS_CREATE_DURABLE 1u

/* The heap takes the place of what is in files that exist: of fixed length, not extended, without
 * holes. Devices such as /dev/dax0.0 are always used so, and need not be named by this flag. size
 * and capacity are the files' by default. What they held is lost, unless it is a heap (EEXIST:
 * destroy it first). alps_heap_destroy leaves the files, without the heap.
 * Of a device, one process of one host creates or destroys the heap while nobody else uses it; on
 * other hosts this cannot be checked. Alignments of devices up to 2 MiB. */
#define ALPS_CREATE_IN_PLACE 2u

/* Processes of several kernels open the heap at the same time. All works without it, too, but an
 * instance that is declared dead while it lives (alps_declare_dead) learns of it at once only with
 * it: each call then looks at a word of its own, and none is inline. */
#define ALPS_CREATE_SHARED 4u

#define ALPS_OPEN_PERMANENT 1u /* blocks allocated through this handle are permanent at once */
#define ALPS_OPEN_READONLY 2u  /* no allocation; needs read permission only; takes no slot */

struct alps_open_options {
    size_t struct_size;
    void *map_hint; /* address wanted for the heap's base, a multiple of 2 MiB, or NULL; if it is
                       taken the heap is mapped elsewhere */
    unsigned flags; /* ALPS_OPEN_... */
};

/* Creates a heap in a new file, or on a device; options NULL: the defaults. The file must not
 * exist (EEXIST) and a symbolic link is not followed. Memory is taken as it is used, not now.
 * Crash: leaves no file, or one that alps_heap_open refuses with EMEDIUMTYPE.
 * Errors: EINVAL, EEXIST, ENOMEM (no room for the management tables), other. */
ALPS_API int alps_heap_create(const char *path, const struct alps_create_options *options);

/* Creates a heap over several files, at most ALPS_FILE_MAX: as alps_heap_create, but each holds an
 * equal share of the size and of the capacity. All are needed, in the same order, to open it. */
ALPS_API int alps_heap_create_files(const char *const *paths, unsigned count,
                                    const struct alps_create_options *options);

/* Opens a heap: maps it, takes an instance slot and a new generation, and takes in instances that
 * died since. The handle is the caller's until alps_heap_close. A process may open a heap several
 * times; each is an instance of its own.
 * Crash: the instance is found dead and recovered like any other.
 * Errors: EINVAL, ENOENT, EACCES, EMEDIUMTYPE, EPROTONOSUPPORT, EUCLEAN, EFBIG, EBUSY (the heap is
 * being formatted or destroyed), EUSERS, ENOSPC (generation table), ENOMEM, other. */
ALPS_API int alps_heap_open(const char *path, const struct alps_open_options *options,
                            alps_heap_t **heap);
ALPS_API int alps_heap_open_files(const char *const *paths, unsigned count,
                                  const struct alps_open_options *options, alps_heap_t **heap);

/* Closes the handle and unmaps the heap. Blocks of this generation stay allocated. No thread may be
 * inside, or later enter, a call with this handle. NULL is allowed.
 * Crash: the instance is found dead and recovered. */
ALPS_API int alps_heap_close(alps_heap_t *heap);

/* Empties the heap whose (first) file this is: no blocks, no roots, no generations; sizes stay.
 * Does it also to a heap that is damaged or cut, as long as its superblock is good. EBUSY while
 * anyone has it open.
 * Crash: the heap is refused with EUCLEAN until it is formatted again. */
ALPS_API int alps_heap_format(const char *path);

/* Removes the files of the heap whose (first) file this is; of one in place, the heap alone. EBUSY
 * while anyone has it open; EMEDIUMTYPE if it is not a heap: nothing is removed then.
 * Crash: some of the files may remain. */
ALPS_API int alps_heap_destroy(const char *path);

/* Grows the heap to at least size bytes, management included, as alps_create_options.size counts.
 * Allocation does this by itself when the heap is short and capacity is left. A smaller size is no
 * error and does nothing. Errors: ENOMEM beyond the capacity, or nothing left behind the file. */
ALPS_API int alps_heap_grow(alps_heap_t *heap, uint64_t size);

/* Gives free memory back to the file system, with what open handles, of whichever process, keep for
 * their next large blocks. It is taken again when needed. Open handles do this for zones they find
 * wholly free when they close. */
ALPS_API int alps_heap_trim(alps_heap_t *heap);

/* ---- allocating ---------------------------------------------------------------------------- */

/* Allocates size bytes (0 counts as 1), aligned to 16, contents undefined. node: the NUMA node
 * wanted, or ALPS_ANY_NODE. If the heap has no zone on that node, or no room there, the block comes
 * from elsewhere. Of a block of over 128 bytes at most 1/8 is more than was asked for.
 * Crash: the block may be allocated though its pointer was never returned: at most one a thread.
 * Errors: EINVAL (node outside -1..ALPS_NODE_MAX), ENOMEM, EROFS, ECHILD, EUCLEAN. */
ALPS_API alps_ptr_t alps_malloc(alps_heap_t *heap, size_t size, int node);

/* Allocates count * size bytes, all zero. ENOMEM also if the product overflows. */
ALPS_API alps_ptr_t alps_calloc(alps_heap_t *heap, size_t count, size_t size, int node);

/* Allocates size bytes at an offset that is a multiple of alignment, a power of two up to
 * ALPS_ALIGNMENT_MAX. Up to 2 MiB the address is aligned alike in every process. */
ALPS_API alps_ptr_t alps_aligned_alloc(alps_heap_t *heap, size_t alignment, size_t size, int node);

/* Resizes a block: the same one if the new size fits it well, otherwise a new block on the same
 * node with the old contents, and the old one is freed. ALPS_NULL as block allocates. size 0 counts
 * as 1. On failure the old block is untouched. The result belongs to this handle's generation if it
 * moved.
 * Crash: the old block, the new one, or both are allocated. */
ALPS_API alps_ptr_t alps_realloc(alps_heap_t *heap, alps_ptr_t block, size_t size);

/* Frees a block, whoever allocated it. ALPS_NULL is allowed.
 * Crash: the block is freed or not.
 * Errors: EINVAL (not the start of a block), EALREADY (freed before, and not used again since),
 * EROFS, ECHILD, EUCLEAN. A double free whose block has been handed out again in between frees the
 * new block, as with every allocator; a block freed by another process that its owner then frees
 * too, before it looked, is not reported either. */
ALPS_API int alps_free(alps_heap_t *heap, alps_ptr_t block);

/* Bytes usable in a block, at least what was asked for; 0 and errno EINVAL if there is no such
 * block. */
ALPS_API size_t alps_usable_size(alps_heap_t *heap, alps_ptr_t block);

/* Allocates a block and stores its pointer in *where, which lies in the heap (an 8-byte aligned
 * address of this process): either both or neither, whatever crashes. What *where held is
 * overwritten. Returns the block. One caller at a time for a given *where, of which one that died
 * is none. EINVAL if it does not lie in the heap. */
ALPS_API alps_ptr_t alps_malloc_to(alps_heap_t *heap, alps_ptr_t *where, size_t size, int node);

/* Frees the block that *where holds and sets it to ALPS_NULL: either both or neither, whatever
 * crashes. *where lies in the heap. One caller at a time for a given *where, of which one that died
 * is none. ENOENT if it holds ALPS_NULL. */
ALPS_API int alps_free_from(alps_heap_t *heap, alps_ptr_t *where);

/* ---- addresses ----------------------------------------------------------------------------- */

/* The part of the handle that the inline functions below read; private otherwise. */
struct alps_heap_base {
    char *base;      /* address of offset 0 in this process */
    uint64_t length; /* bytes of addresses from base */
};

/* Address of an offset in this process; NULL for ALPS_NULL. No check that a block is there. */
static inline void *alps_deref(const alps_heap_t *heap, alps_ptr_t p)
{
    return p == ALPS_NULL ? NULL
                          : (void *)(((const struct alps_heap_base *)(const void *)heap)->base + p);
}

/* Offset of an address; ALPS_NULL if it lies outside the heap. */
static inline alps_ptr_t alps_ref(const alps_heap_t *heap, const void *address)
{
    const struct alps_heap_base *b = (const struct alps_heap_base *)(const void *)heap;
    uint64_t offset = (uint64_t)((uintptr_t)address - (uintptr_t)b->base);
    return offset < b->length ? offset : ALPS_NULL;
}

/* The handle of this process whose heap has an address; NULL if none has. Of a heap that is opened
 * several times, each mapping is found by its own addresses. */
ALPS_API alps_heap_t *alps_heap_at(const void *address);

/* Moves this process's mapping of the heap: to hint (a multiple of 2 MiB) or, for NULL or if that
 * is taken, to another address than now. Offsets stay good, addresses do not. No other thread may
 * use the handle meanwhile. Errors: EINVAL, ENOMEM; the mapping is then unchanged. */
ALPS_API int alps_heap_remap(alps_heap_t *heap, void *hint);

/* ---- generations --------------------------------------------------------------------------- */

/* Generation of this handle; ALPS_PERMANENT with ALPS_OPEN_PERMANENT or ALPS_OPEN_READONLY. */
ALPS_API alps_gen_t alps_heap_generation(const alps_heap_t *heap);

/* Frees every block of a generation that is not open, and nothing else: committed blocks stay. Run
 * again, by several at the same time, or killed midway and run again, it comes to the same. Nobody
 * may free single blocks of that generation meanwhile.
 * Errors: EBUSY (it is open), EINVAL (ALPS_PERMANENT), ENOENT (no such generation: never opened, or
 * nothing of it is left), EROFS, ECHILD. */
ALPS_API int alps_bulk_free(alps_heap_t *heap, alps_gen_t generation);

/* Makes the blocks of a generation permanent, all at once. Of this handle's own generation: also
 * those it allocates later (in a durable heap they are durable with the next commit); of
 * ALPS_PERMANENT: nothing, but in a durable heap they become durable. EBUSY for one that another
 * live instance has open; committing twice is no error. ENOENT, EROFS, ECHILD as above. */
ALPS_API int alps_commit(alps_heap_t *heap, alps_gen_t generation);

/* Makes length bytes at an address in a durable heap durable, as the program wrote them. To be
 * called before alps_commit, or before a pointer to them is published. In other heaps does nothing.
 * Errors: EINVAL (not in the heap), other. */
ALPS_API int alps_persist(alps_heap_t *heap, const void *address, size_t length);

/* What alps_recover found. The caller sets struct_size, generations (or NULL) and capacity. */
struct alps_recovery {
    size_t struct_size;
    alps_gen_t *generations; /* out: generations of the instances recovered, up to capacity */
    unsigned capacity;       /* length of generations */
    unsigned count;          /* out: instances recovered; may exceed capacity */
    unsigned live;           /* out: instances that are alive, this one included */
    uint64_t zones;          /* out: zones visited */
    uint64_t spans_freed;    /* out: spans given back */
};

/* Takes in the instances that died: what they held is given back, their blocks stay allocated under
 * their generations. Survivors go on meanwhile. report may be NULL.
 * Crash: whoever comes next finishes it. */
ALPS_API int alps_recover(alps_heap_t *heap, struct alps_recovery *report);

/* Says that the instance with this generation is dead; alps_recover, or whoever opens the heap or
 * runs short, takes it in then. For launchers and operators, where several kernels share the
 * memory: a process of another kernel is otherwise taken for dead only once its host booted again
 * (hosts are told apart by /etc/machine-id, or by ALPS_HOST_ID in the environment). Processes of
 * the same kernel need no such word. 0 also if it was dead already, or closed.
 * It should really be dead, and stay so. One that was merely stopped and goes on learns of it from
 * its next call, which fails with ESTALE and changes nothing, as all after it do; in heaps without
 * ALPS_CREATE_SHARED only from the next call that is not of the quickest ones. But the call that it
 * was stopped in goes on to its end, or, in long ones, to the next look; and its own accesses to
 * its blocks nobody can stop here, while the blocks may be freed and be others'. Whoever can stop
 * the host, or take its memory away, does that first.
 * Crash: declared or not.
 * Errors: EBUSY (it lives on this kernel), EINVAL (ALPS_PERMANENT), ENOENT, EROFS, ECHILD. */
ALPS_API int alps_declare_dead(alps_heap_t *heap, alps_gen_t generation);

/* Says that all instances of a host are dead: as alps_declare_dead, of a host as alps_instance_walk
 * names it, of those of one of its boots or, for boot 0, of any. Errors: EBUSY (it is this host,
 * and one of them lives), ENOENT (there is none), EROFS, ECHILD. */
ALPS_API int alps_declare_host_dead(alps_heap_t *heap, uint64_t host, uint64_t boot);

/* A sign of life, for those who look at struct alps_instance's silent_seconds; calls that take or
 * give back memory give one by themselves. 0 also means that nobody has declared this instance
 * dead: ESTALE otherwise. EROFS, ECHILD. */
ALPS_API int alps_beat(alps_heap_t *heap);

/* ---- roots --------------------------------------------------------------------------------- */

/* Binds a name of 1 to ALPS_ROOT_NAME_MAX bytes to an offset; ALPS_NULL removes the name. Others
 * see the old or the new value.
 * Errors: EINVAL (name), ENOSPC (ALPS_ROOT_MAX names), ENOENT (removing a name that is not there),
 * EBUSY (a stopped process is in the middle of this call), EROFS, ECHILD. */
ALPS_API int alps_root_set(alps_heap_t *heap, const char *name, alps_ptr_t p);

/* The offset bound to a name; ALPS_NULL and errno ENOENT if there is none. */
ALPS_API alps_ptr_t alps_root_get(alps_heap_t *heap, const char *name);

/* Calls visit for each root; stops when it returns non-zero and returns that. */
ALPS_API int alps_root_walk(alps_heap_t *heap,
                            int (*visit)(const char *name, alps_ptr_t p, void *context),
                            void *context);

/* ---- placement ----------------------------------------------------------------------------- */

/* Moves a block to another NUMA node: *block becomes a new block with the same contents, the old
 * one is freed. 0 and no change if it is there already. ENOMEM if that node has no room, ENODEV if
 * the heap has no zone on it. */
ALPS_API int alps_migrate(alps_heap_t *heap, alps_ptr_t *block, int node);

/* Node that a block's memory is on (the first byte's); a negative errno value on error. */
ALPS_API int alps_block_node(alps_heap_t *heap, alps_ptr_t block);

/* What the heap has on one NUMA node. */
struct alps_node {
    int node;                   /* ALPS_ANY_NODE: in zones that are placed on no node */
    unsigned zones;             /* zones placed there, of the present size */
    uint64_t size;              /* bytes of spans in these zones */
    uint64_t span_bytes;        /* of it: in use by slabs and extents */
    uint64_t live_bytes;        /* of it: usable bytes of allocated blocks */
    uint64_t live_blocks;       /* number of allocated blocks */
    uint64_t pages;             /* pages of span_bytes that were looked at; 0 if none were */
    uint64_t misplaced;         /* of these: on another node than this one */
    alps_ptr_t first_misplaced; /* offset of the first of these */
};

/* Calls visit for each node that zones are placed on, by ascending number, ALPS_ANY_NODE first;
 * stops when it returns non-zero and returns that. With verify not 0 it looks where each page of
 * memory in use lies (pages of 4 KiB: some 0.1 us each), which tells whether the placement was
 * obeyed: file systems other than tmpfs do not, and hugetlbfs refuses it at creation. */
ALPS_API int alps_node_walk(alps_heap_t *heap, int verify,
                            int (*visit)(const struct alps_node *node, void *context),
                            void *context);

/* ---- looking at a heap --------------------------------------------------------------------- */

struct alps_stats {
    size_t struct_size;
    uint64_t size;             /* bytes of memory now, management included */
    uint64_t capacity;         /* bytes it may grow to */
    uint64_t live_bytes;       /* usable bytes of allocated blocks */
    uint64_t live_blocks;      /* number of allocated blocks */
    uint64_t span_bytes;       /* bytes of spans in use by slabs and extents */
    unsigned instances;        /* live instances */
    unsigned dead_instances;   /* instances that died and are not recovered */
    uint64_t metadata_bytes;   /* of size: management tables and bitmaps */
    uint64_t usable_bytes;     /* of size: what blocks can have */
    uint64_t permanent_blocks; /* of live_blocks: permanent */
    uint64_t file_bytes;       /* memory or disk the files hold now (st_blocks) */
    uint64_t zone_size;        /* bytes of a zone */
    unsigned zones;            /* zones in use by the present size */
    unsigned files;            /* files of the heap */
    unsigned roots;            /* named roots */
    unsigned layout_version;   /* of the file format */
    unsigned durable;          /* 1: ALPS_CREATE_DURABLE */
    unsigned in_place;         /* 1: ALPS_CREATE_IN_PLACE, or a device */
    unsigned shared;           /* 1: ALPS_CREATE_SHARED */
};

/* Counts everything in a heap: exact on a quiet one. Its time grows with the heap's size in use. */
ALPS_API int alps_heap_stats(alps_heap_t *heap, struct alps_stats *stats);

struct alps_block {
    alps_ptr_t ptr;        /* the block */
    size_t size;           /* usable bytes */
    alps_gen_t generation; /* ALPS_PERMANENT for permanent blocks */
    int node;              /* node its zone is placed on, or ALPS_ANY_NODE if not placed */
};

/* Calls visit for every allocated block, by ascending offset; stops when it returns non-zero and
 * returns that. visit must not call the library with this heap. Beside running writers it is a
 * snapshot that may miss or include blocks in flight. */
ALPS_API int alps_heap_walk(alps_heap_t *heap,
                            int (*visit)(const struct alps_block *block, void *context),
                            void *context);

struct alps_check {
    size_t struct_size;
    uint64_t problems; /* out: number of violations found */
    char first[256];   /* out: the first one, by the number of its invariant (doc/format.md) */
};

/* Verifies every invariant of the layout. 0, or -EUCLEAN with the first violation in report
 * (report may be NULL). Exact on a quiet heap; beside running writers it checks again what looks
 * wrong and reports what stays wrong. */
ALPS_API int alps_heap_check(alps_heap_t *heap, struct alps_check *report);

/* One instance slot in use. */
struct alps_instance {
    unsigned slot;           /* index of the slot */
    alps_gen_t generation;   /* ALPS_PERMANENT for permanent openings */
    uint64_t pid;            /* process id, in its own PID namespace: for people to read */
    int alive;               /* 1 alive, 0 dead and not recovered yet */
    int self;                /* 1: this handle */
    int remote;              /* 1: it runs on another kernel, alive is what is known here */
    uint64_t silent_seconds; /* since it last took or gave back memory or called alps_beat, by both
                                clocks; an idle process is silent, too */
    uint64_t host, boot;     /* numbers of its host and of that host's boot, for
                                alps_declare_host_dead; 0 if not known */
    char host_name[64];      /* for people */
};

/* Calls visit for each instance slot in use; stops when it returns non-zero and returns that. */
ALPS_API int alps_instance_walk(alps_heap_t *heap,
                                int (*visit)(const struct alps_instance *instance, void *context),
                                void *context);

/* One generation that the heap still knows. */
struct alps_generation {
    alps_gen_t generation;
    int open;      /* 1: an instance has it open, or died and was not recovered yet */
    int committed; /* 1: its blocks are permanent */
};

/* Calls visit for each generation that the heap knows; stops when it returns non-zero and returns
 * that. */
ALPS_API int alps_generation_walk(alps_heap_t *heap,
                                  int (*visit)(const struct alps_generation *generation,
                                               void *context),
                                  void *context);

/* ---- texts --------------------------------------------------------------------------------- */

/* A short text for an error code of this library, negative or positive; never NULL. */
ALPS_API const char *alps_strerror(int error);

/* What exactly went wrong in the last failing call of this thread, naming the file and the values;
 * "" if there is nothing to add. Valid until the thread's next call that fails. */
ALPS_API const char *alps_error_detail(void);

/* The library's version, "0.1.0". */
ALPS_API const char *alps_version(void);

/* ---- inline -------------------------------------------------------------------------------- */

/* Calls of alps_malloc and alps_free do what is simple inline, and call the functions for the rest.
 * To have calls only, define ALPS_NO_INLINE before this header is included; the functions are there
 * in any case, for pointers to them and for other languages. */
#if defined(__GNUC__) && !defined(ALPS_NO_INLINE)
#include <alps/fast.h>

alps_ptr_t alps_malloc_call(alps_heap_t *heap, size_t size, int node) __asm__("alps_malloc");
int alps_free_call(alps_heap_t *heap, alps_ptr_t block) __asm__("alps_free");

extern inline __attribute__((__gnu_inline__)) alps_ptr_t alps_malloc(alps_heap_t *heap, size_t size,
                                                                     int node)
{
    struct alps_fast_bin *bin = alps_fast_find_bin(heap, size, node);
    return ALPS_FAST_LIKELY(bin != NULL) ? alps_fast_take(bin) : alps_malloc_call(heap, size, node);
}

extern inline __attribute__((__gnu_inline__)) int alps_free(alps_heap_t *heap, alps_ptr_t block)
{
    return ALPS_FAST_LIKELY(alps_fast_free(heap, block)) ? 0 : alps_free_call(heap, block);
}
#endif

#ifdef __cplusplus
}
#endif

#endif

/* What the files of libalps-malloc share. */
#ifndef ALPS_MALLOC_PROCESS_H
#define ALPS_MALLOC_PROCESS_H

#include <alps/alps.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* ---- process.c: the heap of this process ---- */

/* Where blocks come from, and the address of its offset 0; NULL: not open yet. */
extern __attribute__((visibility("hidden"))) alps_heap_t *process_heap;
extern __attribute__((visibility("hidden"))) char *process_base;

/* Before and after each call of the heap library. false: the calling thread is in such a call
 * already (libc allocates for it), or it is too early: the arena serves then. */
bool process_enter(void);
void process_leave(void);

/* Whether the heap is this process's alone. */
bool process_heap_is_private(void);

/* Says what is wrong on stderr and ends the program, by abort or with PROCESS_NO_START. */
#define PROCESS_ABORT 0
#define PROCESS_NO_START 125
__attribute__((noreturn, format(printf, 2, 3))) void process_die(int how, const char *format, ...);

/* ---- inherited.c: blocks from before a fork, where the heap is in a file ---- */

/* Before a fork: copies the blocks of this opening of the heap. After it: drops the copy, or, in
 * the child, puts it where the heap is mapped; false: there was no memory for it. */
void inherited_stage(alps_heap_t *heap, char *base, uint64_t length);
void inherited_drop(void);
bool inherited_take(void);

/* 0, INHERITED_NOT for an address that is none of them, -EINVAL: not a block, -EALREADY: freed. */
#define INHERITED_NOT 1
int inherited_free(void *block);
int inherited_size(const void *block, size_t *size);

/* ---- descriptors.c ---- */

/* After a heap in a file was opened: its descriptors are out of the program's way. */
void descriptors_hide(void);

/* ---- arena.c: a little memory for who must not call the heap library ---- */

void *arena_alloc(size_t alignment, size_t size); /* zeroed; NULL: used up */
bool arena_has(const void *block);
size_t arena_size(const void *block);
void arena_free(void *block);

/* Around a fork. */
void arena_lock(void);
void arena_unlock(void);

#endif

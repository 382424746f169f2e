/* A tree of counters that processes share.
 *
 *     counters FILE [PROCESSES]
 *
 * Each process opens the heap by itself, at an address of its own, and counts words in one tree. A
 * node is published by a compare-and-swap of the pointer that leads to it, so there is no lock: a
 * process that is killed anywhere stops nobody. */
#include <alps/alps.h>

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { WORDS = 100, ROUNDS = 1000 };

struct node {
    _Atomic(alps_ptr_t) child[2]; /* words that come before, and after */
    _Atomic(unsigned long) count;
    char word[16];
};

static void fail(const char *what)
{
    fprintf(stderr, "counters: %s: %s\n", what, alps_error_detail());
    exit(1);
}

static void count_word(alps_heap_t *heap, _Atomic(alps_ptr_t) *where, const char *word)
{
    alps_ptr_t fresh = ALPS_NULL;
    for (;;) {
        alps_ptr_t p = *where;
        if (p == ALPS_NULL) {
            if (fresh == ALPS_NULL) {
                fresh = alps_calloc(heap, 1, sizeof(struct node), ALPS_ANY_NODE);
                if (fresh == ALPS_NULL)
                    fail("calloc");
                snprintf(((struct node *)alps_deref(heap, fresh))->word, 16, "%s", word);
            }
            if (!atomic_compare_exchange_strong(where, &p, fresh))
                continue; /* somebody came first */
            p = fresh;
            fresh = ALPS_NULL;
        }
        struct node *node = alps_deref(heap, p);
        int order = strcmp(word, node->word);
        if (order == 0) {
            node->count++;
            alps_free(heap, fresh);
            return;
        }
        where = &node->child[order > 0];
    }
}

static unsigned long sum(alps_heap_t *heap, alps_ptr_t p)
{
    struct node *node = alps_deref(heap, p);
    return node == NULL ? 0 : node->count + sum(heap, node->child[0]) + sum(heap, node->child[1]);
}

static void work(const char *path)
{
    alps_heap_t *heap;
    if (alps_heap_open(path, NULL, &heap) != 0)
        fail("open");
    _Atomic(alps_ptr_t) *tree = alps_deref(heap, alps_root_get(heap, "tree"));
    for (unsigned i = 0; i < WORDS * ROUNDS; i++) {
        char word[16];
        snprintf(word, sizeof word, "word%u", (i * 37 + (unsigned)getpid()) % WORDS);
        count_word(heap, tree, word);
    }
    alps_heap_close(heap);
}

int main(int argc, char **argv)
{
    int processes = argc > 2 ? atoi(argv[2]) : 4;
    alps_heap_t *heap;
    if (argc < 2 || processes < 1) {
        fprintf(stderr, "usage: counters FILE [PROCESSES]\n");
        return 2;
    }
    if (alps_heap_create(argv[1], NULL) != 0 || alps_heap_open(argv[1], NULL, &heap) != 0)
        fail("create");
    if (alps_root_set(heap, "tree", alps_calloc(heap, 1, sizeof(alps_ptr_t), ALPS_ANY_NODE)) != 0)
        fail("root");
    for (int i = 0; i < processes; i++) {
        if (fork() == 0) {
            work(argv[1]);
            _exit(0);
        }
    }
    int status, failed = 0;
    while (wait(&status) > 0)
        failed |= status;
    alps_ptr_t *tree = alps_deref(heap, alps_root_get(heap, "tree"));
    unsigned long total = sum(heap, *tree), wanted = (unsigned long)processes * WORDS * ROUNDS;
    printf("%lu words counted by %d processes\n", total, processes);
    alps_heap_close(heap);
    alps_heap_destroy(argv[1]);
    return failed != 0 || total != wanted;
}

/* A word of the memory that the nodes of emu-testbed share: "read", "write NUMBER", or "add TIMES",
 * which adds one that many times, atomically. What the word is then, is printed. */
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

int main(int argc, char **argv)
{
    const char *what = argc > 1 ? argv[1] : "";
    const uint64_t number = argc > 2 ? strtoull(argv[2], NULL, 10) : 0;
    const size_t length = 2 << 20; /* mappings of such devices are multiples of it */
    const int fd = open("/dev/dax0.0", O_RDWR);
    if (fd < 0) {
        perror("/dev/dax0.0");
        return 1;
    }
    uint64_t *word = mmap(NULL, length, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (word == MAP_FAILED) {
        perror("mmap");
        return 1;
    }
    if (strcmp(what, "write") == 0)
        __atomic_store_n(word, number, __ATOMIC_SEQ_CST);
    if (strcmp(what, "add") == 0)
        for (uint64_t i = 0; i < number; i++)
            __atomic_fetch_add(word, 1, __ATOMIC_SEQ_CST);
    printf("%llu\n", (unsigned long long)__atomic_load_n(word, __ATOMIC_SEQ_CST));
    return 0;
}

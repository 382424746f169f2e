#include "golden.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define PAGE 4096

const size_t golden_sizes[GOLDEN_SIZES] = {1, 40, 100, 3000, 150000, 1000000};

static int failed(const char *path, FILE *a, FILE *b)
{
    perror(path);
    if (a != NULL)
        fclose(a);
    if (b != NULL)
        fclose(b);
    return -1;
}

int golden_pack(const char *heap_path, const char *packed_path)
{
    FILE *in = fopen(heap_path, "rb");
    FILE *out = in == NULL ? NULL : fopen(packed_path, "wb");
    if (out == NULL)
        return failed(in == NULL ? heap_path : packed_path, in, out);
    static const char zeros[PAGE];
    char page[PAGE];
    uint64_t offset = 0;
    fseek(in, 0, SEEK_END);
    fprintf(out, "ALPS-GOLDEN %ld\n", ftell(in));
    rewind(in);
    for (size_t n; (n = fread(page, 1, PAGE, in)) > 0; offset += n) {
        memset(page + n, 0, PAGE - n);
        if (memcmp(page, zeros, PAGE) == 0)
            continue;
        fwrite(&offset, sizeof offset, 1, out);
        fwrite(page, PAGE, 1, out);
    }
    if (ferror(in) || fflush(out) != 0 || ferror(out))
        return failed(packed_path, in, out);
    fclose(in);
    return fclose(out);
}

int golden_unpack(const char *packed_path, const char *heap_path)
{
    FILE *in = fopen(packed_path, "rb");
    FILE *out = in == NULL ? NULL : fopen(heap_path, "wb");
    if (out == NULL)
        return failed(in == NULL ? packed_path : heap_path, in, out);
    long length;
    char page[PAGE];
    uint64_t offset;
    if (fscanf(in, "ALPS-GOLDEN %ld", &length) != 1 || fgetc(in) != '\n' ||
        ftruncate(fileno(out), length) != 0)
        return failed(packed_path, in, out);
    while (fread(&offset, sizeof offset, 1, in) == 1) {
        if (fread(page, PAGE, 1, in) != 1 || fseek(out, (long)offset, SEEK_SET) != 0)
            return failed(packed_path, in, out);
        fwrite(page, PAGE, 1, out);
    }
    if (fflush(out) != 0 || ferror(out) || ferror(in))
        return failed(heap_path, in, out);
    /* The last page may reach past the file's end. */
    if (ftruncate(fileno(out), length) != 0)
        return failed(heap_path, in, out);
    fclose(in);
    return fclose(out);
}

/* Profiles: what is read, and what is said of bad ones. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "profile.h"
#include "test.h"

#include <emu/emu.h>

static struct profile profile;

TEST(profile, all_that_come_with_the_emulator_are_read)
{
    unsigned n = 0;
    for (const struct profile_builtin *b = profile_builtins; b->name != NULL; b++, n++) {
        CHECK_ERR(profile_load(&profile, b->name), 0);
        CHECK_STR(profile.name, b->name);
        CHECK_NE(profile.title[0], '\0');
        CHECK_NE(profile.source[0], '\0');
        CHECK_NE(profile.memory_count, 0);
    }
    CHECK_LE(10, n);
    CHECK_ERR(profile_load(&profile, "cxl-switch"), 0);
    CHECK_EQ(profile_latency_ps(&profile, 0, EMU_READ), 750000);
    CHECK_EQ(profile_latency_ps(&profile, 0, EMU_WRITE), 780000);
    CHECK_ERR(profile_load(&profile, "cxl-direct"), 0);
    CHECK_EQ(profile_latency_ps(&profile, 0, EMU_READ), 250000);
}

TEST(profile, every_key_is_read)
{
    CHECK_ERR(profile_parse(&profile, "p",
                            "title = a b  # comment\n"
                            "\tsource=c\r\n"
                            "coherent = no\nparallelism = 8\ninterleave = 2 MiB\n"
                            "fence = 30 ns\n"
                            "[cache]\nsize = 1MiB\nways = 8\nhit = 500 ps\n"
                            "[link port]\nscope = host\nlatency = 1.5 us\n"
                            "bandwidth = 500 MB/s\n"
                            "[ link up ]\n"
                            "[memory m]\nread = 10 ns\nwrite = 20 ns\n"
                            "atomic = 30 ns\nflush = 40 ns\ngrain = 256 B\n"
                            "count = 3\npath = up\n"
                            "bandwidth = 10 GB/s at 0 % reads, 30 GB/s at 100% reads\n"
                            "loaded = 1 at 0 %, 2.5 at 90 %\n"
                            "[memory n]\nread = 1 ns"),
              0);
    CHECK_STR(profile.title, "a b");
    CHECK_STR(profile.source, "c");
    CHECK(!profile.coherent);
    CHECK_EQ(profile.parallelism, 8);
    CHECK_EQ(profile.interleave, 2 << 20);
    CHECK_EQ(profile.fence_ps, 30000);
    CHECK_EQ(profile.cache_bytes, 1 << 20);
    CHECK_EQ(profile.cache_ways, 8);
    CHECK_EQ(profile.hit_ps, 500);
    CHECK_EQ(profile.link_count, 2);
    CHECK(profile.links[0].each_host && !profile.links[1].each_host);
    CHECK_EQ(profile.links[0].latency_ps, 1500000);
    CHECK(curve_at(&profile.links[0].bandwidth, 0.3) == 0.5);
    const struct profile_memory *m = &profile.memories[0];
    CHECK_EQ(m->read_ps + m->write_ps + m->atomic_ps + m->flush_ps, 100000);
    CHECK_EQ(m->grain, 256);
    CHECK_EQ(m->count, 3);
    CHECK_EQ(m->path_length, 1);
    CHECK_EQ(m->path[0], 1);
    CHECK(curve_at(&m->bandwidth, 0.5) == 20);
    CHECK(curve_at(&m->loaded, 0.45) == 1.75);
    CHECK(curve_at(&m->loaded, 1) == 2.5);
    /* What is left out follows from the rest. */
    const struct profile_memory *n = &profile.memories[1];
    CHECK_EQ(n->path_length, 2);
    CHECK_EQ(n->write_ps, 1000);
    CHECK_EQ(n->count, 1);
    CHECK_EQ(profile_latency_ps(&profile, 1, EMU_READ), 1501000);
}

TEST(profile, errors_name_line_and_column)
{
    static const struct {
        const char *text, *error;
    } bad[] = {
        {"", "p: the profile has no [memory NAME]"},
        {"title = x\ncolour = red\n", "p:2:1: no such key here; there are: title, source"},
        {"[memory m]\n  red = 1 ns", "p:2:3: no such key here; there are: read, write"},
        {"[memory m]\nread 5 ns", "p:2:6: '=' is missing"},
        {"[memory m]\nread = ns", "p:2:8: a number is wanted here"},
        {"[memory m]\nread = 5", "p:2:9: a unit is missing: ps, ns, us"},
        {"[memory m]\nread = 5 GB/s", "p:2:10: a unit is missing"},
        {"[memory m]\nread = 5 ns 6", "p:2:13: what is this"},
        {"[memory m]\nread = 5 ns\nread = 5 ns", "p:3:1: read is there already"},
        {"[memory m]\nread = 2000000000000 ns", "p:2:8: the value is too large"},
        {"[memory m]\ngrain = 100 B", "p:2:9: the size is to be a power of two"},
        {"[memory m]\ncount = 0", "p:2:9: a whole number from 1 to 1024"},
        {"[memory m]\ncount = 1.5", "p:2:9: a whole number"},
        {"[memory m]\nbandwidth = 5 GB/s, 6 GB/s", "p:2:21: the percentages are to ascend"},
        {"[memory m]\nbandwidth = 5 GB/s at 50", "p:2:25: % is missing"},
        {"[memory m]\nbandwidth = 5 GB/s at 50 %", "p:2:27: \"reads\" is missing"},
        {"[memory m]\nbandwidth = 5 GB/s at 150 % reads", "p:2:13: more than 100 %"},
        {"[memory m]\nbandwidth = 0 GB/s", "p:2:13: 0 is no value"},
        {"[memory m]\nloaded = 0.5 at 0 %", "p:2:10: a loaded memory is no faster"},
        {"[memory m]\nwrite = 5 ns", "p:1:1: memory m has no \"read\""},
        {"[memory m]\npath = x", "p:2:8: no link x before this line"},
        {"[link l]\n[memory m]\npath = l, l", "p:3:11: the path has link l already"},
        {"[memory m]\n[link l]", "p:2:6: links come before the memories"},
        {"[memory]", "p:1:8: a name for the memory is missing"},
        {"[memory m", "p:1:10: ']' is missing"},
        {"[memory m]\n[memory m]", "p:2:9: there is a memory m already"},
        {"[link l]\n[link l]", "p:2:7: there is a link l already"},
        {"[memory a234567890123456789012345678901234]", "p:1:9: a name may have 31 characters"},
        {"[memory m] x", "p:1:12: what is this"},
        {"[disk d]", "p:1:2: [memory NAME], [link NAME] or [cache] is wanted"},
        {"coherent = maybe", "p:1:12: yes or no is wanted"},
        {"title =", "p:1:8: a text is missing"},
        {"[link l]\nscope = all", "p:2:9: host or shared is wanted"},
        {"[cache]\nways = 3\n[memory m]", "p:1:1: ways is to be a power of two"},
        {"[cache]\nsize = 64 B\n[memory m]", "p:1:1: the cache has fewer lines than ways"},
        {"[memory a]\ncount = 600\n[memory b]\ncount = 600", "p: the profile has 1200 memory"},
    };
    for (unsigned i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        CHECK_ERR(profile_parse(&profile, "p", bad[i].text), -EINVAL);
        if (strstr(emu_error_detail(), bad[i].error) != emu_error_detail())
            test_fail(__FILE__, __LINE__, "\"%s\": \"%s\", not \"%s\"", bad[i].text,
                      emu_error_detail(), bad[i].error);
    }
}

/* Whatever is cut off, or changed, is read or refused, and nothing else. */
TEST(profile, damaged_texts_do_no_harm)
{
    struct test_rng rng = test_rng(1);
    for (const struct profile_builtin *b = profile_builtins; b->name != NULL; b++) {
        char *text = strdup(b->text);
        const size_t length = strlen(text);
        for (size_t cut = length; cut > 0; cut--) {
            text[cut - 1] = '\0';
            int rc = profile_parse(&profile, "p", text);
            CHECK(rc == 0 || rc == -EINVAL);
        }
        free(text);
        for (int i = 0; i < 300; i++) {
            text = strdup(b->text);
            for (int n = 0; n < 3; n++)
                text[test_rng_below(&rng, length)] = (char)(1 + test_rng_below(&rng, 255));
            int rc = profile_parse(&profile, "p", text);
            CHECK(rc == 0 || rc == -EINVAL);
            free(text);
        }
    }
}

TEST(profile, a_file_is_read_by_its_path)
{
    const char *directory = test_directory();
    char path[256];
    snprintf(path, sizeof path, "%s/mine.v2.profile", directory);
    CHECK_ERR(profile_load(&profile, path), -ENOENT);
    FILE *file = fopen(path, "w");
    CHECK(file != NULL);
    fputs("[memory m]\nread = 7 ns\n", file);
    fclose(file);
    CHECK_ERR(profile_load(&profile, path), 0);
    CHECK_STR(profile.name, "mine");
    CHECK_ERR(profile_load(&profile, "mine"), -ENOENT);
    CHECK(strstr(emu_error_detail(), "no profile mine") != NULL);
    file = fopen(path, "w");
    for (int i = 0; i < 300000; i++)
        fputc('#', file);
    fclose(file);
    CHECK_ERR(profile_load(&profile, path), -EFBIG);
    file = fopen(path, "w");
    fwrite("[memory m]\n\0", 12, 1, file);
    fclose(file);
    CHECK_ERR(profile_load(&profile, path), -EINVAL);
    CHECK_ERR(profile_load(&profile, directory), -EISDIR);
}

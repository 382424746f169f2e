/* new and delete of an unmodified C++ program, with libalps-malloc.so loaded first. Says what is
 * wrong and returns 1. */
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <memory>
#include <new>
#include <string>
#include <thread>
#include <vector>

#define CHECK(condition)                                                                           \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            std::fprintf(stderr, "%s:%d: CHECK(%s)\n", __FILE__, __LINE__, #condition);            \
            std::_Exit(1);                                                                         \
        }                                                                                          \
    } while (0)

static int handled;
static char *volatile taken;
static volatile std::size_t too_much = std::size_t(1) << 46;

static void handler()
{
    if (++handled == 3)
        std::set_new_handler(nullptr);
}

static void test_failure()
{
    bool thrown = false;
    std::set_new_handler(handler);
    try {
        taken = new char[too_much]; // seen by the compiler to be used
    } catch (const std::bad_alloc &) {
        thrown = true;
    }
    CHECK(thrown && handled == 3);
    taken = new (std::nothrow) char[too_much];
    CHECK(taken == nullptr);
}

template <std::size_t alignment> static void test_alignment()
{
    struct alignas(alignment) wide {
        char bytes[alignment];
    };
    std::vector<std::unique_ptr<wide>> kept;
    for (int i = 0; i < 100; i++) {
        kept.emplace_back(new wide());
        CHECK(reinterpret_cast<std::uintptr_t>(kept.back().get()) % alignment == 0);
    }
    std::unique_ptr<wide[]> many(new wide[7]);
    CHECK(reinterpret_cast<std::uintptr_t>(many.get()) % alignment == 0);
}

struct owner {
    std::string text = std::string(1000, 'x');
    ~owner()
    {
        CHECK(text == std::string(1000, 'x'));
    }
};
static owner destroyed_late;
static thread_local owner of_thread;

static void work()
{
    std::map<int, std::string> numbers;
    for (int i = 0; i < 20000; i++)
        numbers[i * 7919 % 20011] = std::to_string(i) + std::string(i % 50, '.');
    CHECK(numbers.size() == 20000);
    CHECK(numbers[7919] == "1.");
    CHECK(of_thread.text.size() == 1000);
}

int main()
{
    test_failure();
    test_alignment<32>();
    test_alignment<64>();
    test_alignment<4096>();
    std::vector<std::thread> threads;
    for (int i = 0; i < 4; i++)
        threads.emplace_back(work);
    for (std::thread &thread : threads)
        thread.join();
    work();
    return 0;
}

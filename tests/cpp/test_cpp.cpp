// alps.hpp: one process builds containers and linked structures in a heap, others, at other
// addresses, walk, change and free them; pointers, allocators, errors.
//
//     test_cpp DIRECTORY
//
// It starts itself again, as "test_cpp walk PATH BASE" and so on: nothing but the heap goes over.
#include <alps/alps.hpp>

#include <boost/container/flat_map.hpp>
#include <boost/container/list.hpp>
#include <boost/container/map.hpp>
#include <boost/container/scoped_allocator.hpp>
#include <boost/container/stable_vector.hpp>
#include <boost/container/string.hpp>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <numeric>
#include <scoped_allocator>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <thread>
#include <unistd.h>

namespace
{

#define CHECK(condition) ((condition) ? void() : fail(__FILE__, __LINE__, "CHECK(" #condition ")"))

[[noreturn]] void fail(const char *file, int line, const char *what)
{
    std::fprintf(stderr, "%s:%d: failed: %s\n", file, line, what);
    std::exit(1);
}

template <class Call> int error_of(Call call)
{
    try {
        call();
    } catch (const std::system_error &error) {
        CHECK(std::strlen(error.what()) > 10);
        return error.code().value();
    } catch (const std::bad_alloc &) {
        return ENOMEM;
    }
    return 0;
}

template <class T> using alloc = boost::container::scoped_allocator_adaptor<alps::allocator<T>>;
template <class T> using vector = std::vector<T, alloc<T>>;
using string = boost::container::basic_string<char, std::char_traits<char>, alps::allocator<char>>;
template <class K, class V>
using map = boost::container::map<K, V, std::less<K>, alloc<std::pair<const K, V>>>;

struct item {
    alps::ptr<item> next, previous;
    int value;
};

struct alignas(256) wide {
    int value;
};

// A list with a head that points to itself when it is empty.
struct ring {
    item head;

    ring()
    {
        head.next = head.previous = alps::ptr<item>::pointer_to(head);
    }
    void append(item *one)
    {
        one->previous = head.previous;
        one->next = &head;
        head.previous->next = one;
        head.previous = one;
    }
    int sum() const
    {
        int result = 0;
        for (alps::ptr<const item> i = head.next; i != &head; i = i->next) {
            CHECK(i->next->previous == i);
            result += i->value;
        }
        return result;
    }
};

// A tree of one's own that makes its nodes where it lies itself.
struct node {
    alps::ptr<node> left, right;
    int key;
};
struct tree {
    alps::ptr<node> root;
    alps::allocator<node> allocator;

    explicit tree(const alps::heap &heap) : allocator(heap)
    {
    }
    void add(int key)
    {
        alps::ptr<node> *place = &root;
        while (*place)
            place = key < (*place)->key ? &(*place)->left : &(*place)->right;
        *place = allocator.allocate(1);
        new (place->get()) node{nullptr, nullptr, key};
    }
    static int sum(const alps::ptr<node> &n)
    {
        return n ? n->key + sum(n->left) + sum(n->right) : 0;
    }
    void clear(const alps::ptr<node> &n)
    {
        if (n) {
            clear(n->left);
            clear(n->right);
            allocator.deallocate(n, 1);
        }
    }
    ~tree()
    {
        clear(root);
    }
};

struct world {
    vector<int> numbers;
    vector<string> words;
    std::deque<long, alps::allocator<long>> queue;
    map<string, vector<string>> index;
    boost::container::list<string, alloc<string>> lines;
    boost::container::flat_map<int, double, std::less<int>, alps::allocator<std::pair<int, double>>>
        flat;
    vector<wide> wides;
    boost::container::stable_vector<int, alps::allocator<int>> stable;
    ring items;
    tree keys;

    explicit world(const alps::heap &heap)
        : numbers(heap), words(heap), queue(heap), index(heap), lines(heap), flat(heap),
          wides(heap), stable(heap), keys(heap)
    {
    }
};

std::string word(int i)
{
    return std::string(static_cast<std::size_t>(i % 60), static_cast<char>('a' + i % 26));
}

constexpr int count = 1000;

void build(alps::heap &heap)
{
    auto *w = heap.construct<world>(heap);
    for (int i = 0; i < count; i++) {
        w->numbers.push_back(i);
        w->words.emplace_back(word(i).c_str());
        w->queue.push_front(i);
        w->queue.push_back(-i);
        string key(word(i % 50).c_str(), heap);
        w->index[key].emplace_back(word(i).c_str());
        w->lines.emplace_back(word(i).c_str());
        w->flat[i % 100] = i;
        w->stable.push_back(i);
        w->items.append(heap.construct<item>(nullptr, nullptr, i));
        w->keys.add(i * 7919 % count);
    }
    w->wides.resize(10);
    for (wide &one : w->wides)
        one.value = 3;
    heap.set_root("world", w);
}

// What build has made, and, once it was changed, what change has made of it.
void verify(const world &w, int extra)
{
    int total = count * (count - 1) / 2;
    CHECK(static_cast<int>(w.numbers.size()) == count + extra);
    CHECK(std::accumulate(w.numbers.begin(), w.numbers.end(), 0) == total - extra);
    CHECK(static_cast<int>(w.words.size()) == count);
    for (int i = 0; i < count; i++)
        CHECK(w.words[static_cast<std::size_t>(i)] == word(i).c_str());
    CHECK(std::accumulate(w.queue.begin(), w.queue.end(), 0L) == 0);
    CHECK(static_cast<int>(w.queue.size()) == 2 * (count - extra));
    std::size_t indexed = 0;
    for (const auto &entry : w.index)
        indexed += entry.second.size();
    CHECK(indexed == static_cast<std::size_t>(count));
    CHECK(static_cast<int>(w.lines.size()) == count - extra);
    CHECK(w.flat.at(7) == count - 100 + 7);
    CHECK(std::accumulate(w.stable.begin(), w.stable.end(), 0) == total);
    for (const wide &one : w.wides)
        CHECK(one.value == 3 && reinterpret_cast<std::uintptr_t>(&one) % alignof(wide) == 0);
    CHECK(w.items.sum() == total + extra * (count + 1));
    CHECK(tree::sum(w.keys.root) == total + extra * (count + 1));
}

void change(alps::heap &heap, world &w)
{
    w.numbers.push_back(-1);
    w.numbers.shrink_to_fit();
    w.queue.pop_front();
    w.queue.pop_back();
    w.lines.pop_front();
    auto moved = std::move(w.words); // the vector's memory goes over to a stack, and back
    CHECK(w.words.empty() && static_cast<int>(moved.size()) == count);
    w.words = std::move(moved);
    auto &list = w.index.begin()->second;
    list.insert(list.begin(), list.back()); // a copy within the heap
    list.erase(list.begin());
    w.items.append(heap.construct<item>(nullptr, nullptr, count + 1));
    w.keys.add(count + 1);
}

void end(alps::heap &heap, world *w)
{
    while (w->items.head.next != &w->items.head) {
        item *first = w->items.head.next.get();
        w->items.head.next = first->next;
        heap.destroy(first);
    }
    heap.destroy(w);
    heap.set_root("world", nullptr);
    CHECK(heap.root<world>("world") == nullptr);
}

std::uint64_t live_blocks(const alps::heap &heap)
{
    alps_stats stats{};
    stats.struct_size = sizeof stats;
    alps::must(alps_heap_stats(heap.get(), &stats));
    alps::must(alps_heap_check(heap.get(), nullptr));
    return stats.live_blocks;
}

// Starts this program again and waits for it.
void start(const std::string &what, const std::string &path, const void *base)
{
    std::string address = std::to_string(reinterpret_cast<std::uintptr_t>(base));
    const char *arguments[] = {"test_cpp", what.c_str(), path.c_str(), address.c_str(), nullptr};
    pid_t child;
    int status;
    CHECK(posix_spawn(&child, "/proc/self/exe", nullptr, nullptr, const_cast<char **>(arguments),
                      environ) == 0);
    CHECK(waitpid(child, &status, 0) == child);
    CHECK(status == 0);
}

// In the processes that are started: at another address than who started them.
void started(const std::string &what, const std::string &path, std::uintptr_t base)
{
    // Something lies where the other has the heap.
    void *taken = mmap(reinterpret_cast<void *>(base), 4096, PROT_NONE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
    CHECK(taken != MAP_FAILED);
    alps::heap heap(path);
    CHECK(heap.at<char>(1) - 1 != static_cast<char *>(taken));
    auto *w = heap.root<world>("world");
    CHECK(w != nullptr);
    if (what == "change") {
        verify(*w, 0);
        change(heap, *w);
        verify(*w, 1);
    } else if (what == "end") {
        verify(*w, 1);
        end(heap, w);
        CHECK(live_blocks(heap) == 0);
    } else {
        verify(*w, 0);
    }
}

void test_processes(const std::string &path)
{
    {
        alps::create_options options;
        options.size = 64 << 20;
        alps::heap heap = alps::heap::create(path, options);
        const void *base = heap.at<char>(1) - 1;
        build(heap);
        auto *w = heap.root<world>("world");
        verify(*w, 0);
        start("walk", path, base);
        start("change", path, base);
        verify(*w, 1);

        alps::must(alps_heap_remap(heap.get(), nullptr)); // and at another address in this one
        CHECK(heap.at<char>(1) - 1 != base);
        w = heap.root<world>("world");
        verify(*w, 1);
        w->numbers.push_back(1);
        w->numbers.pop_back();
        start("end", path, heap.at<char>(1) - 1);
        CHECK(heap.root<world>("world") == nullptr);
        CHECK(live_blocks(heap) == 0);
    }
    alps::must(alps_heap_destroy(path.c_str()));
}

struct base_type {
    int a = 1;
};
struct derived_type : base_type {
    int b = 2;
};

void test_pointers()
{
    using alps::ptr;
    int values[] = {1, 2, 3, 4, 5};
    ptr<int> p = values, null = nullptr, unset;
    static_assert(sizeof p == 8 && !std::is_trivially_copyable_v<ptr<int>>);
    static_assert(std::is_same_v<std::pointer_traits<ptr<int>>::rebind<char>, ptr<char>>);
    static_assert(std::is_same_v<std::pointer_traits<ptr<int>>::element_type, int>);
    static_assert(std::is_same_v<std::iterator_traits<ptr<const int>>::value_type, int>);
    static_assert(std::is_convertible_v<ptr<int>, ptr<const int>>);
    static_assert(!std::is_convertible_v<ptr<const int>, ptr<int>>);
    static_assert(std::is_convertible_v<ptr<int>, ptr<void>>);
    static_assert(!std::is_convertible_v<ptr<void>, ptr<int>>);
    static_assert(!std::is_constructible_v<ptr<int>, ptr<long>>);
    static_assert(!std::is_convertible_v<ptr<int>, int *>);

    CHECK(*p == 1 && p[4] == 5 && p.get() == values && static_cast<int *>(p) == values);
    CHECK(p && !null && !unset && null == nullptr && null == unset && p != nullptr);
    CHECK(null.get() == nullptr && null.operator->() == nullptr);
    CHECK(null + 0 == null && null - null == 0);
    ptr<int> q = p + 2;
    CHECK(*q == 3 && q - p == 2 && p - q == -2 && *(2 + p) == 3 && *(q - 1) == 2);
    CHECK(p < q && q > p && p <= q && q >= p && p != q && p == values && values == p);
    CHECK(*q++ == 3 && *q == 4 && *++q == 5 && *q-- == 5 && *--q == 3);
    q += 2;
    q -= 1;
    CHECK(q == &values[3]);
    CHECK(std::accumulate(p, p + 5, 0) == 15 && std::distance(p, p + 5) == 5);

    ptr<const int> constant = q;
    CHECK(constant == q && q == constant && *constant == 4);
    ptr<void> anything = q;
    CHECK(static_cast<ptr<int>>(anything) == q);
    ptr<const void> anywhere = constant;
    CHECK(anywhere == anything && static_cast<ptr<const int>>(anywhere) == q);
    derived_type object;
    ptr<derived_type> derived = &object;
    ptr<base_type> base = derived;
    CHECK(base->a == 1 && static_cast<ptr<derived_type>>(base)->b == 2);
    base = nullptr;
    CHECK(!base);
    q = null;
    CHECK(!q);

    // One that points to itself, and to the object that it begins.
    ptr<void> self;
    self = &self;
    CHECK(self && self == &self);
    auto copy = self;
    CHECK(copy == &self);

    // Zero bytes are null.
    alignas(ptr<int>) char zero[sizeof(ptr<int>)] = {};
    CHECK(*reinterpret_cast<ptr<int> *>(zero) == nullptr);
}

void test_errors(const std::string &path)
{
    CHECK(error_of([&] { alps::heap heap(path); }) == ENOENT);
    try {
        alps::heap heap(path);
    } catch (const std::system_error &error) {
        CHECK(error.code() == std::errc::no_such_file_or_directory);
        CHECK(std::strstr(error.what(), path.c_str()) != nullptr);
    }
    {
        alps::heap heap = alps::heap::create(path);
        CHECK(error_of([&] { alps::heap::create(path); }) == EEXIST);

        // A full heap is bad_alloc, and a vector that could not grow is as before.
        std::vector<long, alps::allocator<long>> v(heap);
        std::size_t before = 0;
        bool was_full = false;
        try {
            for (;;) {
                before = v.size();
                v.resize(v.size() * 2 + 1, 7);
            }
        } catch (const std::bad_alloc &) {
            was_full = true;
        }
        CHECK(was_full && v.size() == before && v.back() == 7);
        CHECK(error_of([&] { v.get_allocator().allocate(v.max_size() + 1); }) == ENOMEM);
        v.clear();
        v.shrink_to_fit();

        // A constructor that throws leaves nothing.
        struct thrower {
            thrower()
            {
                throw std::system_error(EDOM, std::generic_category(), "out of its domain");
            }
        };
        CHECK(error_of([&] { heap.construct<thrower>(); }) == EDOM);
        CHECK(live_blocks(heap) == 0);

        int outside = 0;
        CHECK(error_of([&] { heap.destroy(&outside); }) == EINVAL);
        CHECK(error_of([&] { heap.set_root("outside", &outside); }) == EINVAL);
        CHECK(error_of([&] { heap.set_root("", nullptr); }) == EINVAL);
        int *inside = heap.construct<int>(5);
        CHECK(heap.at<int>(heap.offset(inside)) == inside && heap.offset(&outside) == ALPS_NULL);
        heap.set_root("int", inside);
        CHECK(*heap.root<int>("int") == 5);
        CHECK(error_of([&] { heap.root<wide>("int"); }) == EINVAL);
        heap.destroy(inside);
        CHECK(error_of([&] { heap.destroy(inside); }) == EALREADY);
        heap.destroy(static_cast<int *>(nullptr));
        CHECK(error_of([&] { alps::must(alps_bulk_free(heap.get(), 12345)); }) == ENOENT);

        alps::open_options readonly;
        readonly.flags = ALPS_OPEN_READONLY;
        alps::heap reader(path, readonly);
        CHECK(error_of([&] { reader.construct<int>(); }) == EROFS);
        CHECK(alps::allocator<int>(reader) != alps::allocator<int>(heap));

        // Moving a handle leaves allocators good; without their heap they say so.
        alps::allocator<char> a(heap);
        alps::heap moved = std::move(heap);
        CHECK(heap.get() == nullptr);
        a.deallocate(a.allocate(10), 10);
        heap = std::move(moved);
        CHECK(alps::allocator<int>(a) == alps::allocator<long>(heap));
        {
            alps::heap last = std::move(heap);
        }
        CHECK(error_of([&] { a.allocate(1); }) == EINVAL);
        CHECK(error_of([&] { alps::allocator<int>(heap).allocate(1); }) == EINVAL);
        CHECK(error_of([&] { heap.construct<int>(); }) == EINVAL);
    }
    alps::must(alps_heap_destroy(path.c_str()));
}

// Containers of two heaps stay each in its own.
void test_two_heaps(const std::string &path)
{
    std::vector<std::string> paths = {path + ".0", path + ".1"};
    {
        alps::heap one = alps::heap::create(path), two = alps::heap::create(paths);
        {
            alps::heap again(paths);
            CHECK(again.get() != two.get());
        }
        CHECK(error_of([&] { alps::heap wrong({paths[1], paths[0]}); }) != 0);
        vector<string> a(one), b(two);
        a.emplace_back("a text that does not fit into the string itself");
        b = a;
        CHECK(b == a && one.offset(&b[0]) == ALPS_NULL && two.offset(&b[0]) != ALPS_NULL);
        CHECK(two.offset(b[0].data()) != ALPS_NULL);
        b.emplace_back("another one that does not fit into the string itself");
        a = std::move(b);
        CHECK(a.size() == 2 && one.offset(a[1].data()) != ALPS_NULL);
        vector<string> c(std::move(a));
        CHECK(c.size() == 2 && one.offset(c[1].data()) != ALPS_NULL);
        CHECK(c.get_allocator() == alps::allocator<string>(one));

        using inner = std::vector<int, alps::allocator<int>>;
        std::vector<inner, std::scoped_allocator_adaptor<alps::allocator<inner>>> nested(one);
        nested.resize(3);
        nested.emplace_back(5, 1);
        nested.front().push_back(2);
        CHECK(nested.back().size() == 5 && one.offset(nested.front().data()) != ALPS_NULL);
    }
    alps::must(alps_heap_destroy(path.c_str()));
    alps::must(alps_heap_destroy(paths[0].c_str()));
}

// Threads with containers of their own, in one heap.
void test_threads(const std::string &path)
{
    {
        alps::heap heap = alps::heap::create(path);
        std::vector<std::thread> threads;
        for (int t = 0; t < 4; t++)
            threads.emplace_back([&heap, t] {
                map<int, string> m(heap);
                for (int i = 0; i < count; i++)
                    m.emplace(i, word(i + t).c_str());
                for (int i = 0; i < count; i++)
                    CHECK(m.at(i) == word(i + t).c_str());
            });
        for (std::thread &thread : threads)
            thread.join();
        CHECK(live_blocks(heap) == 0);
    }
    alps::must(alps_heap_destroy(path.c_str()));
}

} // namespace

int main(int argc, char **argv)
{
    if (argc == 4) {
        started(argv[1], argv[2], std::stoul(argv[3]));
        return 0;
    }
    if (argc != 2) {
        std::fprintf(stderr, "usage: test_cpp DIRECTORY\n");
        return 2;
    }
    std::string path = std::string(argv[1]) + "/heap";
    test_pointers();
    test_processes(path);
    test_errors(path);
    test_two_heaps(path);
    test_threads(path);
    std::puts("passed");
}

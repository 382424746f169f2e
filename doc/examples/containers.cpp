// Containers of C++ in a heap.
//
//     containers FILE build | show | end
//
// Each is a process of its own and maps the heap where it likes. A vector of the standard library
// takes the heap's pointers; a map with strings comes from Boost, as the standard library's (with
// gcc) cannot. scoped_allocator_adaptor hands the allocator down to the strings.
#include <alps/alps.hpp>

#include <boost/container/map.hpp>
#include <boost/container/scoped_allocator.hpp>
#include <boost/container/string.hpp>
#include <cstring>
#include <iostream>

template <class T> using allocator = boost::container::scoped_allocator_adaptor<alps::allocator<T>>;
template <class T> using vector = std::vector<T, allocator<T>>;
using string = boost::container::basic_string<char, std::char_traits<char>, allocator<char>>;
template <class K, class V>
using map = boost::container::map<K, V, std::less<K>, allocator<std::pair<const K, V>>>;

struct inventory {
    map<string, vector<double>> prices;
    vector<string> log;
    alps::ptr<double> best; // an own pointer: relocatable, too

    explicit inventory(const alps::heap &heap) : prices(heap), log(heap)
    {
    }
};

static void build(const char *path)
{
    alps::heap heap = alps::heap::create(path);
    auto *all = heap.construct<inventory>(heap);
    const char *names[] = {"apples", "pears", "plums of a kind that has a rather long name"};
    for (const char *name : names)
        for (double price = 1; price < 4; price++)
            all->prices[string(name, heap)].push_back(price * static_cast<double>(strlen(name)));
    all->best = &all->prices.begin()->second.front();
    all->log.emplace_back("built");
    heap.set_root("inventory", all);
}

static void show(const char *path)
{
    alps::heap heap(path);
    auto *all = heap.root<inventory>("inventory");
    for (const auto &[name, prices] : all->prices) {
        std::cout << name << ':';
        for (double price : prices)
            std::cout << ' ' << price;
        std::cout << '\n';
    }
    std::cout << "the best: " << *all->best << '\n';
    all->log.emplace_back("shown by another process, which allocates as well");
    for (const string &line : all->log)
        std::cout << line << '\n';
}

static void end(const char *path)
{
    {
        alps::heap heap(path);
        heap.destroy(heap.root<inventory>("inventory"));
        heap.set_root("inventory", nullptr);
        alps_stats stats{};
        stats.struct_size = sizeof stats;
        alps::must(alps_heap_stats(heap.get(), &stats));
        std::cout << stats.live_blocks << " blocks are left\n";
    }
    alps::must(alps_heap_destroy(path));
}

int main(int argc, char **argv)
try {
    std::string what = argc == 3 ? argv[2] : "";
    if (what == "build")
        build(argv[1]);
    else if (what == "show")
        show(argv[1]);
    else if (what == "end")
        end(argv[1]);
    else {
        std::cerr << "usage: containers FILE build | show | end\n";
        return 2;
    }
    return 0;
} catch (const std::exception &error) {
    std::cerr << "containers: " << error.what() << '\n';
    return 1;
}

#include <alps/alps.hpp>

#include <cstdio>

int main()
{
    std::puts(alps_version());
    int value = 1;
    alps::ptr<int> p = &value;
    return alps_heap_at(p.get()) == nullptr && *p == 1 ? 0 : 1;
}

#include <alps/alps.h>

#include <cstdio>

int main()
{
    std::puts(alps_version());
    return alps_deref(nullptr, ALPS_NULL) == nullptr ? 0 : 1;
}

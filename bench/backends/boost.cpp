#include "boost.h"

#include <boost/interprocess/managed_mapped_file.hpp>
#include <boost/version.hpp>
#include <exception>
#include <memory>
#include <new>
#include <string>

using boost::interprocess::create_only;
using boost::interprocess::managed_mapped_file;
using boost::interprocess::open_only;

static std::unique_ptr<managed_mapped_file> file;
static std::string problem;

template <typename Mode, typename... Arguments>
static const char *map(Mode mode, const char *path, Arguments... arguments)
{
    try {
        file.reset(new managed_mapped_file(mode, path, arguments...));
    } catch (const std::exception &error) {
        problem = error.what();
        return problem.c_str();
    }
    return nullptr;
}

extern "C" const char *boost_create(const char *path, uint64_t bytes)
{
    const char *failure = map(create_only, path, bytes);

    file.reset();
    return failure;
}

extern "C" const char *boost_open(const char *path)
{
    return map(open_only, path);
}

extern "C" const char *boost_check()
{
    if (!file->check_sanity())
        return "check_sanity fails";
    return file->all_memory_deallocated() ? nullptr : "blocks are left though all were freed";
}

extern "C" void boost_close()
{
    file.reset();
}

extern "C" uint64_t boost_malloc(size_t size)
{
    void *block = file->allocate(size, std::nothrow);

    return block == nullptr ? 0 : static_cast<uint64_t>(file->get_handle_from_address(block));
}

extern "C" void *boost_address(uint64_t block)
{
    return file->get_address_from_handle(static_cast<managed_mapped_file::handle_t>(block));
}

extern "C" void boost_free(uint64_t block)
{
    file->deallocate(boost_address(block));
}

extern "C" const char *boost_version()
{
    return BOOST_LIB_VERSION;
}

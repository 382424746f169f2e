/* A file system that gives a heap twice the memory that it asks for, the rest at the file's end. */
#include <dlfcn.h>
#include <fcntl.h>
#include <sys/stat.h>

int fallocate(int fd, int mode, off_t offset, off_t length)
{
    int (*system_call)(int, int, off_t, off_t);
    struct stat status;

    *(void **)&system_call = dlsym(RTLD_NEXT, "fallocate");
    if (mode == 0 && fstat(fd, &status) == 0 && offset + length < status.st_size / 2)
        system_call(fd, mode, offset + status.st_size / 2, length);
    return system_call(fd, mode, offset, length);
}

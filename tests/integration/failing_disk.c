/* A disk that fails when told: LD_PRELOAD for tests/integration/test_failing_disk.py.
 *
 * While the file named by FAILING_DISK exists and begins with "sync N" or "write N", every such call on a file of a
 * spool ("/spool/" is in its path) fails with errno N.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

static int fails(int fd, const char *what)
{
    const char *control = getenv("FAILING_DISK");
    char told[64] = "", link[64], path[4096];
    size_t length = strlen(what);
    long file, size;

    if (control == NULL)
        return 0;
    file = syscall(SYS_openat, AT_FDCWD, control, O_RDONLY | O_CLOEXEC);
    if (file < 0)
        return 0;
    size = syscall(SYS_read, file, told, sizeof told - 1);
    syscall(SYS_close, file);
    if (size <= 0 || strncmp(told, what, length) != 0 || told[length] != ' ')
        return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    size = readlink(link, path, sizeof path - 1);
    if (size <= 0)
        return 0;
    path[size] = 0;
    if (strstr(path, "/spool/") == NULL)
        return 0;
    errno = atoi(told + length + 1);
    return 1;
}

#define REAL(type, name, parameters) static type (*real) parameters; \
    if (real == NULL) \
        real = (type (*) parameters)dlsym(RTLD_NEXT, name)

int fsync(int fd)
{
    REAL(int, "fsync", (int));
    return fails(fd, "sync") ? -1 : real(fd);
}

int fdatasync(int fd)
{
    REAL(int, "fdatasync", (int));
    return fails(fd, "sync") ? -1 : real(fd);
}

ssize_t write(int fd, const void *octets, size_t count)
{
    REAL(ssize_t, "write", (int, const void *, size_t));
    return fails(fd, "write") ? -1 : real(fd, octets, count);
}

ssize_t pwrite(int fd, const void *octets, size_t count, off_t offset)
{
    REAL(ssize_t, "pwrite", (int, const void *, size_t, off_t));
    return fails(fd, "write") ? -1 : real(fd, octets, count, offset);
}

ssize_t pwrite64(int fd, const void *octets, size_t count, off64_t offset)
{
    REAL(ssize_t, "pwrite64", (int, const void *, size_t, off64_t));
    return fails(fd, "write") ? -1 : real(fd, octets, count, offset);
}

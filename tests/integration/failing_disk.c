/* A disk that fails when told, or kills who uses it: LD_PRELOAD for tests/integration/ and tests/crash/.
 *
 * While the file named by FAILING_DISK exists and says "CALL WHAT COUNT", the calls on files of a spool ("/spool/" is
 * in their path) beyond the first COUNT of this kind do WHAT.  CALL is "sync" or "write"; "write" and an errno that
 * stands for a file system that is read-only or without room are the opening of a file for writing, too.
 * WHAT is an errno, with which they fail; or "before" or "after": the process kills itself there.
 *
 * With DISK_TRACE, that file gets a line for each such call that went well ("write PATH", "sync PATH"), for each file of
 * a spool that is opened and may be made ("make PATH"), and for each promise to a client ("promise").
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

enum what { GOES_WELL, FAILS, KILLS_BEFORE, KILLS_AFTER };

static atomic_long met;
static atomic_long mark;

/* What is told of such a call; errno is set when it fails. */
static enum what told_of(const char *call, int opening)
{
    const char *control = getenv("FAILING_DISK");
    char told[64] = "", kind[16], what[16];
    struct stat found;
    long file, size, count = 0;

    if (control == NULL)
        return GOES_WELL;
    file = syscall(SYS_openat, AT_FDCWD, control, O_RDONLY | O_CLOEXEC);
    if (file < 0)
        return GOES_WELL;
    size = syscall(SYS_read, file, told, sizeof told - 1);
    if (fstat(file, &found) != 0)
        size = 0;
    syscall(SYS_close, file);
    if (size <= 0 || sscanf(told, "%15s %15s %ld", kind, what, &count) < 2 || strcmp(kind, call) != 0)
        return GOES_WELL;
    if (opening && atoi(what) != EROFS && atoi(what) != ENOSPC)
        return GOES_WELL;
    if (atomic_exchange(&mark, found.st_mtim.tv_nsec) != found.st_mtim.tv_nsec)
        atomic_store(&met, 0); /* told anew */
    if (atomic_fetch_add(&met, 1) < count)
        return GOES_WELL;
    if (strcmp(what, "before") == 0)
        return KILLS_BEFORE;
    if (strcmp(what, "after") == 0)
        return KILLS_AFTER;
    errno = atoi(what);
    return FAILS;
}

/* Is it a file or folder of a spool?  Its path. */
static int of_a_spool(int fd, char path[4096])
{
    char link[64];
    long size;

    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    size = readlink(link, path, 4095);
    if (size <= 0)
        return 0;
    path[size] = 0;
    return strstr(path, "/spool/") != NULL;
}

static void trace(const char *what, const char *path)
{
    const char *name = getenv("DISK_TRACE");
    char line[4200];
    long file, size;

    if (name == NULL)
        return;
    size = snprintf(line, sizeof line, "%s %s\n", what, path);
    file = syscall(SYS_openat, AT_FDCWD, name, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    syscall(SYS_write, file, line, size);
    syscall(SYS_close, file);
}

static void die(void)
{
    kill(getpid(), SIGKILL);
}

/* Define a call on an open file. */
#define CALL(kind, type, name, parameters, arguments) \
    type name parameters \
    { \
        static type (*real) parameters; \
        char path[4096]; \
        int ours = of_a_spool(fd, path); \
        enum what what = ours ? told_of(kind, 0) : GOES_WELL; \
        type result; \
        if (real == NULL) \
            real = (type (*) parameters)dlsym(RTLD_NEXT, #name); \
        if (what == FAILS) \
            return -1; \
        if (what == KILLS_BEFORE) \
            die(); \
        result = real arguments; \
        if (what == KILLS_AFTER) \
            die(); \
        if (ours && result >= 0) \
            trace(kind, path); \
        return result; \
    }

CALL("sync", int, fsync, (int fd), (fd))
CALL("sync", int, fdatasync, (int fd), (fd))
CALL("write", ssize_t, write, (int fd, const void *octets, size_t count), (fd, octets, count))
CALL("write", ssize_t, pwrite, (int fd, const void *octets, size_t count, off_t at), (fd, octets, count, at))
CALL("write", ssize_t, pwrite64, (int fd, const void *octets, size_t count, off64_t at), (fd, octets, count, at))

ssize_t send(int fd, const void *octets, size_t count, int flags)
{
    static ssize_t (*real)(int, const void *, size_t, int);

    if (real == NULL)
        real = (ssize_t (*)(int, const void *, size_t, int))dlsym(RTLD_NEXT, "send");
    if (memmem(octets, count, "queued as", 9) != NULL)
        trace("promise", "");
    return real(fd, octets, count, flags);
}

static int may_not_open(int folder, const char *path, int flags)
{
    char above[4096], whole[8192];

    if ((flags & O_ACCMODE) == O_RDONLY && !(flags & O_CREAT))
        return 0;
    if (path[0] == '/') {
        if (strstr(path, "/spool/") == NULL)
            return 0;
        snprintf(whole, sizeof whole, "%s", path);
    } else {
        if (folder == AT_FDCWD || !of_a_spool(folder, above))
            return 0;
        snprintf(whole, sizeof whole, "%s/%s", above, path);
    }
    if (told_of("write", 1) == FAILS)
        return 1;
    if (flags & O_CREAT)
        trace("make", whole);
    return 0;
}

/* Define a call that opens a file. */
#define OPEN(name, parameters, folder, arguments) \
    int name parameters \
    { \
        static int (*real) parameters; \
        mode_t mode = 0; \
        if ((flags & O_CREAT) || (flags & O_TMPFILE) == O_TMPFILE) { \
            va_list more; \
            va_start(more, flags); \
            mode = va_arg(more, mode_t); \
            va_end(more); \
        } \
        if (real == NULL) \
            real = (int (*) parameters)dlsym(RTLD_NEXT, #name); \
        return may_not_open(folder, path, flags) ? -1 : real arguments; \
    }

OPEN(open, (const char *path, int flags, ...), AT_FDCWD, (path, flags, mode))
OPEN(open64, (const char *path, int flags, ...), AT_FDCWD, (path, flags, mode))
OPEN(openat, (int at, const char *path, int flags, ...), at, (at, path, flags, mode))
OPEN(openat64, (int at, const char *path, int flags, ...), at, (at, path, flags, mode))

/* Laid under the agent by LD_PRELOAD: a wall clock that can be set, and a disk that takes its time.
 *
 * STARLING_SHIM names a file of two 64-bit integers, mapped before main: seconds to add to the wall clock, and
 * milliseconds that each fsync, fdatasync and positioned write takes. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/types.h>
#include <time.h>
#include <unistd.h>

static volatile int64_t *orders;

__attribute__((constructor)) static void begin(void)
{
    const char *name = getenv("STARLING_SHIM");
    int file = name ? open(name, O_RDONLY | O_CLOEXEC) : -1;
    if (file < 0)
        return;
    void *map = mmap(NULL, 16, PROT_READ, MAP_SHARED, file, 0);
    if (map != MAP_FAILED)
        orders = map;
    close(file);
}

static void dawdle(void)
{
    if (!orders || orders[1] <= 0)
        return;
    struct timespec time = { orders[1] / 1000, (orders[1] % 1000) * 1000000 };
    nanosleep(&time, NULL);
}

int clock_gettime(clockid_t clock, struct timespec *now)
{
    static int (*real)(clockid_t, struct timespec *);
    if (!real)
        real = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
    int result = real(clock, now);
    if (result == 0 && clock == CLOCK_REALTIME && orders)
        now->tv_sec += orders[0];
    return result;
}

int fsync(int file)
{
    static int (*real)(int);
    if (!real)
        real = (int (*)(int))dlsym(RTLD_NEXT, "fsync");
    dawdle();
    return real(file);
}

int fdatasync(int file)
{
    static int (*real)(int);
    if (!real)
        real = (int (*)(int))dlsym(RTLD_NEXT, "fdatasync");
    dawdle();
    return real(file);
}

ssize_t pwrite64(int file, const void *bytes, size_t length, off64_t at)
{
    static ssize_t (*real)(int, const void *, size_t, off64_t);
    if (!real)
        real = (ssize_t (*)(int, const void *, size_t, off64_t))dlsym(RTLD_NEXT, "pwrite64");
    dawdle();
    return real(file, bytes, length, at);
}

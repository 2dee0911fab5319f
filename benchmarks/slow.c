/* Makes each fsync, fdatasync and syncfs take $BENCH_SLOW_MS longer, as a slower disk would. Then the number
 * of syncs decides, and how many run at once. Loaded by LD_PRELOAD (benchmarks/slow.py). */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

static void wait_longer(void) {
    const char *text = getenv("BENCH_SLOW_MS");
    long ms = text ? atol(text) : 0;
    struct timespec time = {ms / 1000, ms % 1000 * 1000000L};
    nanosleep(&time, NULL);
}

#define SLOW(name) \
    int name(int fd) { \
        static int (*real)(int); \
        if (!real) \
            real = (int (*)(int))dlsym(RTLD_NEXT, #name); \
        wait_longer(); \
        return real(fd); \
    }

SLOW(fsync)
SLOW(fdatasync)
SLOW(syncfs)

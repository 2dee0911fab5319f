/* Counts the system calls of a process that make something durable or visible, and hurts the n-th, whichever thread makes it.
 * (strace's injection counts for each thread by itself, so "the n-th of the process" cannot be asked of it.)
 * Loaded by LD_PRELOAD; commanded through the file $TORTURE_SHIM, which `tests.torture.shim` maps as well. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

enum { SYNC, WRITE, RENAME, SEND, FOLDER, KINDS }; /* FOLDER: those of SYNC that are about a folder */
enum { COUNT, KILL, FAIL, SLOW };

struct control {
    int32_t armed, kind, action, error; /* error: errno of FAIL, milliseconds of SLOW */
    int64_t from, until;                /* which calls of the kind, counted from 1 */
    int64_t count[KINDS], hits;
    int64_t clock; /* seconds that the wall clock is ahead */
};

static struct control *control;

__attribute__((constructor)) static void begin(void) {
    const char *file = getenv("TORTURE_SHIM");
    int fd = file ? open(file, O_RDWR | O_CLOEXEC) : -1;
    if (fd < 0)
        return;
    void *place = mmap(NULL, sizeof *control, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    if (place != MAP_FAILED)
        control = place;
}

/* Whether the call must fail; errno is set then. */
static int hurt(int kind) {
    if (!control || !control->armed)
        return 0;
    int64_t number = __sync_add_and_fetch(&control->count[kind], 1);
    if (kind != control->kind || number < control->from || number > control->until || control->action == COUNT)
        return 0;
    __sync_add_and_fetch(&control->hits, 1);
    if (control->action == KILL) {
        kill(getpid(), SIGKILL);
        for (;;)
            pause();
    }
    if (control->action == SLOW) {
        struct timespec time = {control->error / 1000, control->error % 1000 * 1000000L};
        nanosleep(&time, NULL);
        return 0;
    }
    errno = control->error;
    return 1;
}

/* The log and whatever is neither a file nor a socket do not count. */
static int kind_of(int fd) {
    struct stat status;
    if (fd <= 2 || fstat(fd, &status) != 0)
        return -1;
    return S_ISREG(status.st_mode) ? WRITE : S_ISSOCK(status.st_mode) ? SEND : -1;
}

static int hurt_fd(int fd) {
    int saved = errno, kind = control && control->armed ? kind_of(fd) : -1;
    errno = saved;
    return kind >= 0 && hurt(kind);
}

#define REAL(name) \
    static __typeof__(&name) real; \
    if (!real) \
        real = (__typeof__(&name))dlsym(RTLD_NEXT, #name)

static void count_folder(int fd) {
    struct stat status;
    if (control && control->armed && fstat(fd, &status) == 0 && S_ISDIR(status.st_mode))
        __sync_add_and_fetch(&control->count[FOLDER], 1);
}

int fsync(int fd) { REAL(fsync); count_folder(fd); return hurt(SYNC) ? -1 : real(fd); }
int syncfs(int fd) { REAL(syncfs); return hurt(SYNC) ? -1 : real(fd); }
int fdatasync(int fd) { REAL(fdatasync); return hurt(SYNC) ? -1 : real(fd); }
ssize_t write(int fd, const void *data, size_t size) { REAL(write); return hurt_fd(fd) ? -1 : real(fd, data, size); }
ssize_t writev(int fd, const struct iovec *data, int count) { REAL(writev); return hurt_fd(fd) ? -1 : real(fd, data, count); }
ssize_t pwrite(int fd, const void *data, size_t size, off_t at) { REAL(pwrite); return hurt_fd(fd) ? -1 : real(fd, data, size, at); }
ssize_t pwrite64(int fd, const void *data, size_t size, off64_t at) { REAL(pwrite64); return hurt_fd(fd) ? -1 : real(fd, data, size, at); }
ssize_t send(int fd, const void *data, size_t size, int flags) { REAL(send); return hurt_fd(fd) ? -1 : real(fd, data, size, flags); }
ssize_t sendmsg(int fd, const struct msghdr *message, int flags) { REAL(sendmsg); return hurt_fd(fd) ? -1 : real(fd, message, flags); }
int rename(const char *from, const char *to) { REAL(rename); return hurt(RENAME) ? -1 : real(from, to); }
int renameat(int from_at, const char *from, int to_at, const char *to) {
    REAL(renameat);
    return hurt(RENAME) ? -1 : real(from_at, from, to_at, to);
}
int renameat2(int from_at, const char *from, int to_at, const char *to, unsigned int flags) {
    REAL(renameat2);
    return hurt(RENAME) ? -1 : real(from_at, from, to_at, to, flags);
}
int clock_gettime(clockid_t id, struct timespec *time) {
    REAL(clock_gettime);
    int result = real(id, time);
    if (result == 0 && id == CLOCK_REALTIME && control)
        time->tv_sec += control->clock;
    return result;
}

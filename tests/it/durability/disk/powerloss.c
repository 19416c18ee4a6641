// Simulates a power cut without root. Preloaded (LD_PRELOAD) into the receiver, this library keeps
// a second copy of its database, "the disk". The copy gets written data only when the file is
// synced. After SIGKILL the disk holds what a power cut would leave.
//
//   POWERLOSS_DATABASE  the database file. It and its -wal are copied; the -shm is only memory.
//   POWERLOSS_DISK      the folder of the copies. If empty, there are no copies, and syncs reach
//                       the real disk.
//   POWERLOSS_EARLY     percentage of writes that reach the disk at once, because a system may
//                       write back at any time
//   POWERLOSS_LIE       the syncs that are claimed but not done: "" none, "all", or "commit", which
//                       means the syncs of the log through a descriptor that has written to it.
//                       That is synchronous=NORMAL: only a checkpoint really syncs the log, before
//                       it writes to the database.
//
// Suitable for processes that end by SIGKILL: file names are on the disk at once, and no file is
// ever deleted.
#define _GNU_SOURCE
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { FDS_MAX = 4096, COPIES = 2 };

// The writes since the last sync, in order.
struct change {
    struct change *next;
    off_t offset;
    size_t length;
    int truncates;
    char bytes[];
};

struct copy {
    int fd, number;
    struct change *first, **end;
};

static const char *const SUFFIXES[COPIES] = {"", "-wal"};
static struct copy copies[COPIES] = {{.fd = -1, .number = 0}, {.fd = -1, .number = 1}};
static struct copy *copy_of_fd[FDS_MAX];
static int has_written[FDS_MAX];
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static unsigned int seed;

static const char *setting(const char *name) {
    const char *value = getenv(name);
    return value ? value : "";
}

// Returns the number of the copy of the file at `path`, or -1 if it has none. Sets `on_disk` to the
// path of the copy.
static int number_of(const char *path, char *on_disk) {
    const char *database = setting("POWERLOSS_DATABASE");
    size_t length = strlen(database);
    if (!length || strncmp(path, database, length)) return -1;
    for (int number = 0; number < COPIES; number++)
        if (!strcmp(path + length, SUFFIXES[number])) {
            snprintf(on_disk, PATH_MAX, "%s/database%s", setting("POWERLOSS_DISK"), SUFFIXES[number]);
            return number;
        }
    return -1;
}

static struct copy *copy_of(int fd) {
    return fd >= 0 && fd < FDS_MAX ? copy_of_fd[fd] : NULL;
}

static int opened(int fd, const char *path) {
    char on_disk[PATH_MAX];
    if (fd < 0 || fd >= FDS_MAX) return fd;
    int number = number_of(path, on_disk);
    pthread_mutex_lock(&lock);
    copy_of_fd[fd] = number < 0 ? NULL : &copies[number];
    has_written[fd] = 0;
    if (number >= 0 && copies[number].fd < 0 && *setting("POWERLOSS_DISK")) {
        copies[number].fd = syscall(SYS_openat, AT_FDCWD, on_disk, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
        copies[number].end = &copies[number].first;
        if (!seed) seed = getpid();
    }
    pthread_mutex_unlock(&lock);
    return fd;
}

static void apply(struct copy *copy, struct change *change) {
    if (change->truncates) syscall(SYS_ftruncate, copy->fd, change->offset);
    else syscall(SYS_pwrite64, copy->fd, change->bytes, change->length, change->offset);
}

static void changed(int fd, const void *bytes, size_t length, off_t offset, int truncates) {
    struct copy *copy = copy_of(fd);
    if (!copy) return;
    has_written[fd] = 1;
    if (copy->fd < 0) return;
    struct change *change = malloc(sizeof *change + length);
    *change = (struct change){.offset = offset, .length = length, .truncates = truncates};
    if (length) memcpy(change->bytes, bytes, length);
    pthread_mutex_lock(&lock);
    *copy->end = change;
    copy->end = &change->next;
    if (!truncates && (int)(rand_r(&seed) % 100) < atoi(setting("POWERLOSS_EARLY"))) apply(copy, change);
    pthread_mutex_unlock(&lock);
}

static int synced(int fd, int how) {
    struct copy *copy = copy_of(fd);
    const char *lie = setting("POWERLOSS_LIE");
    if (copy && !strcmp(lie, "all")) return 0;
    if (copy && !strcmp(lie, "commit") && copy->number == 1 && has_written[fd]) return 0;
    if (!copy || copy->fd < 0) return syscall(how, fd);
    pthread_mutex_lock(&lock);
    for (struct change *change = copy->first, *next; change; change = next) {
        next = change->next;
        apply(copy, change);
        free(change);
    }
    copy->first = NULL;
    copy->end = &copy->first;
    pthread_mutex_unlock(&lock);
    return 0;
}

#define OPEN(NAME)                                                                \
    int NAME(const char *path, int flags, ...) {                                  \
        va_list rest;                                                             \
        va_start(rest, flags);                                                    \
        mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(rest, mode_t) : 0;   \
        va_end(rest);                                                             \
        return opened(syscall(SYS_openat, AT_FDCWD, path, flags, mode), path);    \
    }
OPEN(open)
OPEN(open64)

int close(int fd) {
    if (fd >= 0 && fd < FDS_MAX) copy_of_fd[fd] = NULL;
    return syscall(SYS_close, fd);
}

ssize_t pwrite64(int fd, const void *bytes, size_t length, off_t offset) {
    ssize_t written = syscall(SYS_pwrite64, fd, bytes, length, offset);
    if (written > 0) changed(fd, bytes, written, offset, 0);
    return written;
}

ssize_t pwrite(int fd, const void *bytes, size_t length, off_t offset) {
    return pwrite64(fd, bytes, length, offset);
}

ssize_t write(int fd, const void *bytes, size_t length) {
    off_t offset = copy_of(fd) ? syscall(SYS_lseek, fd, 0, SEEK_CUR) : 0;
    ssize_t written = syscall(SYS_write, fd, bytes, length);
    if (written > 0) changed(fd, bytes, written, offset, 0);
    return written;
}

int ftruncate64(int fd, off_t length) {
    int failed = syscall(SYS_ftruncate, fd, length);
    if (!failed) changed(fd, NULL, 0, length, 1);
    return failed;
}

int ftruncate(int fd, off_t length) {
    return ftruncate64(fd, length);
}

int fsync(int fd) {
    return synced(fd, SYS_fsync);
}

int fdatasync(int fd) {
    return synced(fd, SYS_fdatasync);
}

/* A steady disk: loaded with LD_PRELOAD, it makes each fsync and fdatasync take FSYNC_US
   microseconds and do nothing else. With the database on a RAM disk, the speed of this disk is the
   same from minute to minute. The speed of a shared disk never is. */
#define _GNU_SOURCE
#include <stdlib.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

static void wait_for_disk(void) {
    static long us = -1;
    static __thread int exact;
    if (us < 0) {
        const char *given = getenv("FSYNC_US");
        us = given ? atol(given) : 0;
    }
    if (!exact) {
        /* A sleep may be late by the timer slack, which is 50 us by default. */
        prctl(PR_SET_TIMERSLACK, 1000UL);
        exact = 1;
    }
    struct timespec time = {us / 1000000, (us % 1000000) * 1000};
    nanosleep(&time, NULL);
}

int fsync(int fd) {
    (void)fd;
    wait_for_disk();
    return 0;
}

int fdatasync(int fd) {
    (void)fd;
    wait_for_disk();
    return 0;
}

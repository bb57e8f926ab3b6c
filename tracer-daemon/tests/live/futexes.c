/* Makes a known number of waits for futexes: says "ready", waits for a line, works, says "done SECONDS", which is
 * how long it waited, waits for another line.
 *
 *     FUTEX_WAIT, until a time has passed      200
 *     FUTEX_WAIT_BITSET, the same              100
 *     FUTEX_WAIT for a value that has changed  300
 *     FUTEX_WAKE, which is no wait             500 */
#define _GNU_SOURCE
#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "program.h"

static uint32_t word = 1;
static double waited;

static double now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

__attribute__((noinline)) static void wait_for(int operation, uint32_t value, const struct timespec *time, int why)
{
    double begin = now();
    long result = syscall(SYS_futex, &word, operation | FUTEX_PRIVATE_FLAG, value, time, NULL, UINT_MAX);
    waited += now() - begin;
    must(result == -1 && errno == why, "futex");
}

int main(void)
{
    const struct timespec millisecond = {0, 1000000};
    char line[64];
    say("ready\n");
    wait_for_line();
    for (int call = 0; call < 200; call++)
        wait_for(FUTEX_WAIT, 1, &millisecond, ETIMEDOUT);
    for (int call = 0; call < 100; call++) {
        struct timespec until;
        clock_gettime(CLOCK_MONOTONIC, &until);
        until.tv_nsec += 1000000;
        if (until.tv_nsec >= 1000000000)
            until.tv_sec++, until.tv_nsec -= 1000000000;
        wait_for(FUTEX_WAIT_BITSET, 1, &until, ETIMEDOUT);
    }
    for (int call = 0; call < 300; call++)
        wait_for(FUTEX_WAIT, 2, NULL, EAGAIN);
    for (int call = 0; call < 500; call++)
        must(syscall(SYS_futex, &word, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0) == 0, "wake");
    snprintf(line, sizeof line, "done %.6f\n", waited);
    say(line);
    wait_for_line();
    return 0;
}

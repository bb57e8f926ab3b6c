/* Forks children that touch pages, one after the other: says "ready", waits for a line, works until there is another
 * line, says "done FORKS", and ends. Every sixteenth child lives for long enough to be looked at. */
#define _GNU_SOURCE
#include <poll.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "program.h"

#define PAGE 4096L
#define MOST 64

static void touch(long pages)
{
    char *at = mmap(NULL, MOST * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    must(at != MAP_FAILED, "mmap");
    madvise(at, MOST * PAGE, MADV_NOHUGEPAGE);
    for (long page = 0; page < pages; page++)
        *(volatile char *)(at + page * PAGE) = 1;
    munmap(at, MOST * PAGE);
}

int main(void)
{
    const struct timespec while_looked_at = {0, 150000000};
    struct pollfd input = {0, POLLIN, 0};
    char said[32];
    long forks = 0;
    say("ready\n");
    wait_for_line();
    while (poll(&input, 1, 0) == 0) {
        pid_t child = fork();
        must(child >= 0, "fork");
        if (child == 0) {
            touch(forks % MOST);
            if (forks % 16 == 0) {
                nanosleep(&while_looked_at, NULL);
                touch(7);
            }
            _exit(0);
        }
        must(waitpid(child, NULL, 0) == child, "waitpid");
        touch(3);
        forks++;
    }
    snprintf(said, sizeof said, "done %ld\n", forks);
    say(said);
    return 0;
}

/* Gets memory from the end of a known chain of calls, without frame pointers.
 *
 * deep malloc|qsort|fault|signal ROUNDS: says "ready", waits for a line, works, says "done", waits
 * for another line.
 *
 * first → second → third → fourth → fifth, and from there to the C library's malloc, or to a page
 * that is touched for the first time. With "qsort" the library's sort is between second and third;
 * with "signal" the kernel is, for third runs in a handler. */
#define _GNU_SOURCE
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define LENGTH (64L << 20)
#define PAGE 4096L
#define PAGES 64
/* A function of its own, whatever the compiler would like better. */
#define KEPT __attribute__((noinline, noclone))

static const char *mode;
static volatile long done;

static void must(int holds, const char *what)
{
    if (!holds) {
        perror(what);
        _exit(1);
    }
}

KEPT long fifth(long length)
{
    if (mode[0] == 'f') {
        char *at = mmap(NULL, length, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        must(at != MAP_FAILED, "mmap");
        madvise(at, length, MADV_NOHUGEPAGE);
        for (long page = 0; page < PAGES; page++)
            *(volatile char *)(at + page * PAGE) = 1;
        munmap(at, length);
    } else {
        char *at = malloc(length);
        must(at != NULL, "malloc");
        *(volatile char *)at = 1;
        free(at);
    }
    return ++done;
}

/* Not all frames are of a size that the compiler knows. */
KEPT long fourth(long length)
{
    char room[32 + length % 7 * 64];
    memset(room, 1, sizeof room);
    return fifth(length) + room[done % 32];
}

KEPT long third(long length)
{
    volatile char room[600];
    room[done % 600] = 1;
    return fourth(length) + room[3];
}

static int compare(const void *left, const void *right)
{
    third(LENGTH);
    return *(const int *)left - *(const int *)right;
}

static void handle(int number)
{
    third(LENGTH + number - number);
}

KEPT long second(long length)
{
    int two[2] = {2, 1};
    if (mode[0] == 'q') {
        qsort(two, 2, sizeof *two, compare);
        return two[0] + done;
    }
    if (mode[0] == 's') {
        raise(SIGUSR1);
        return done + 1;
    }
    return third(length) + 1;
}

KEPT long first(long length)
{
    return second(length) + 1;
}

static void wait_for_line(const char *word)
{
    char line[16];
    puts(word);
    fflush(stdout);
    must(fgets(line, sizeof line, stdin) != NULL, "stdin");
}

int main(int count, char **words)
{
    must(count == 3, "usage: deep malloc|qsort|fault|signal ROUNDS");
    mode = words[1];
    signal(SIGUSR1, handle);
    wait_for_line("ready");
    for (long round = atol(words[2]); round > 0; round--)
        first(LENGTH);
    wait_for_line("done");
    return 0;
}

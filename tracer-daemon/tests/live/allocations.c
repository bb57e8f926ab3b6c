/* Makes a known number of each call of the allocator, from several threads at once.
 *
 * allocations THREADS ROUNDS: says "ready", waits for a line, works, says "done BLOCKS", waits for another
 * line. BLOCKS is how many blocks realloc(block, 0) handed out, which allocators do as they like; each
 * is freed like any other.
 *
 * allocations hot: says "ready", waits for a line, then takes and frees 64 bytes for ever.
 *
 * allocations sites: says "ready", waits for a line, takes and frees 1,000 MB from three places, says "done",
 * waits for another line. Of the bytes, 70 % are taken by take_small, 20 % by take_medium and 10 % by
 * take_large, by turns.
 *
 * allocations kept: says "ready", waits for a line, takes blocks of 2 MB and keeps some: take_large frees its
 * 100, keep_much keeps its 50 and keep_little its 25. Says "done", waits for another line.
 *
 * allocations steady WORK: a thread takes and frees 64 bytes and counts to WORK, for ever. Says "ready", then for
 * each line "pairs NUMBER NANOSECONDS" so far.
 *
 * allocations alone ROUNDS STATUS: waits for nobody and has one thread; says "done BLOCKS" and ends with STATUS.
 *
 * allocations parent ROUNDS: says "ready", waits for a line, forks, and works in both processes; says "done", and its
 * child waits for another line, works again, and has to end well.
 *
 * In the middle of the work of THREADS the process forks; the child takes and frees a block as often as a thread has
 * rounds, and has to end well.
 *
 * A round calls                        with bytes
 *     malloc           1                100
 *     calloc           1                30 * 10
 *     realloc          3 (of NULL, moved, to size 0)   50 + 200,000 + 0
 *     reallocarray     1                7 * 11
 *     posix_memalign   1                1,000
 *     aligned_alloc    1                640
 *     memalign         1                320
 *     valloc           1                5,000
 *     free             8, one of them of NULL, and one for each of BLOCKS */
#define _GNU_SOURCE
#include <malloc.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "program.h"

static pthread_barrier_t warm, begin, end;
static long rounds;
static atomic_long kept;

static void *got(void *block, const char *what)
{
    must(block != NULL, what);
    *(volatile char *)block = 1;
    return block;
}

static void one_round(void)
{
    void *block;
    free(got(malloc(100), "malloc"));
    free(got(calloc(30, 10), "calloc"));
    block = got(realloc(NULL, 50), "realloc");
    block = got(realloc(block, 200000), "realloc");
    block = realloc(block, 0);
    if (block != NULL) {
        kept++;
        free(block);
    }
    free(got(reallocarray(NULL, 7, 11), "reallocarray"));
    must(posix_memalign(&block, 64, 1000) == 0, "posix_memalign");
    free(got(block, "posix_memalign"));
    free(got(aligned_alloc(64, 640), "aligned_alloc"));
    free(got(memalign(64, 320), "memalign"));
    free(got(valloc(5000), "valloc"));
    free(NULL);
}

__attribute__((noreturn)) static void *worker(void *unused)
{
    (void)unused;
    /* What libraries take once for each thread, they take here. */
    one_round();
    pthread_barrier_wait(&warm);
    pthread_barrier_wait(&begin);
    for (long round = 0; round < rounds; round++)
        one_round();
    pthread_barrier_wait(&end);
    /* The end of a thread would give back what is its own. */
    for (;;)
        pause();
}

static void fork_a_child(void)
{
    int status = 0;
    pid_t child = fork();
    if (child == 0) {
        for (long round = 0; round < rounds; round++)
            free(got(malloc(100), "malloc in the child"));
        _exit(0);
    }
    must(child > 0 && waitpid(child, &status, 0) == child, "fork");
    must(WIFEXITED(status) && WEXITSTATUS(status) == 0, "the child");
}

static void work_alone(void)
{
    for (long round = 0; round < rounds; round++)
        one_round();
}

__attribute__((noreturn)) static void run_parent(void)
{
    int status = 0, ends[2];
    char byte;
    must(pipe(ends) == 0, "pipe");
    one_round();
    say("ready\n");
    wait_for_line();
    pid_t child = fork();
    must(child >= 0, "fork");
    work_alone();
    close(ends[1]);
    if (child == 0) {
        must(read(ends[0], &byte, 1) == 0, "the parent's end of work");
        say("done\n");
        wait_for_line();
        work_alone();
        _exit(0);
    }
    must(waitpid(child, &status, 0) == child && status == 0, "the child");
    _exit(0);
}

static void run_hot(void)
{
    say("ready\n");
    wait_for_line();
    for (;;)
        free(got(malloc(64), "malloc"));
}

__attribute__((noreturn)) static void run_alone(long status)
{
    char line[64];
    work_alone();
    snprintf(line, sizeof line, "done %ld\n", (long)kept);
    say(line);
    _exit((int)status);
}

#define SMALL 1000
#define MEDIUM 50000
#define LARGE 2000000

__attribute__((noinline)) static void take_small(void)
{
    free(got(malloc(SMALL), "malloc"));
}

__attribute__((noinline)) static void take_medium(void)
{
    free(got(calloc(MEDIUM / 10, 10), "calloc"));
}

__attribute__((noinline)) static void take_large(void)
{
    free(got(malloc(LARGE), "malloc"));
}

__attribute__((noinline, noreturn)) static void run_sites(void)
{
    say("ready\n");
    wait_for_line();
    for (int turn = 0; turn < 50; turn++) {
        for (int call = 0; call < 14000; call++)
            take_small();
        for (int call = 0; call < 80; call++)
            take_medium();
        take_large();
    }
    say("done\n");
    wait_for_line();
    _exit(0);
}

static void *held[75];

__attribute__((noinline)) static void keep_much(int index)
{
    held[index] = got(malloc(LARGE), "malloc");
}

__attribute__((noinline)) static void keep_little(int index)
{
    held[index] = got(malloc(LARGE), "malloc");
}

__attribute__((noinline, noreturn)) static void run_kept(void)
{
    say("ready\n");
    wait_for_line();
    for (int turn = 0; turn < 25; turn++) {
        for (int call = 0; call < 4; call++)
            take_large();
        keep_much(3 * turn);
        keep_much(3 * turn + 1);
        keep_little(3 * turn + 2);
    }
    say("done\n");
    wait_for_line();
    _exit(0);
}

static atomic_long pairs;
static long work;

__attribute__((noreturn)) static void *steady(void *unused)
{
    (void)unused;
    for (;;) {
        free(got(malloc(64), "malloc"));
        pairs++;
        for (volatile long step = 0; step < work; step++)
            ;
    }
}

__attribute__((noreturn)) static void run_steady(void)
{
    pthread_t thread;
    char line[64];
    must(pthread_create(&thread, NULL, steady, NULL) == 0, "pthread_create");
    say("ready\n");
    for (;;) {
        struct timespec now;
        wait_for_line();
        clock_gettime(CLOCK_MONOTONIC, &now);
        snprintf(line, sizeof line, "pairs %ld %ld\n", (long)pairs,
                 now.tv_sec * 1000000000L + now.tv_nsec);
        say(line);
    }
}

int main(int count, char **words)
{
    if (count > 2 && strcmp(words[1], "steady") == 0) {
        work = atol(words[2]);
        run_steady();
    }
    if (count > 1 && strcmp(words[1], "hot") == 0)
        run_hot();
    if (count > 1 && strcmp(words[1], "sites") == 0)
        run_sites();
    if (count > 2 && strcmp(words[1], "parent") == 0) {
        rounds = atol(words[2]);
        run_parent();
    }
    if (count > 1 && strcmp(words[1], "kept") == 0)
        run_kept();
    if (count > 3 && strcmp(words[1], "alone") == 0) {
        rounds = atol(words[2]);
        run_alone(atol(words[3]));
    }
    long threads = count > 1 ? atol(words[1]) : 8;
    rounds = count > 2 ? atol(words[2]) : 100;
    pthread_t ids[64];
    char line[64];
    must(threads > 0 && threads <= 64, "threads");
    pthread_barrier_init(&warm, NULL, (unsigned)threads + 1);
    pthread_barrier_init(&begin, NULL, (unsigned)threads + 1);
    pthread_barrier_init(&end, NULL, (unsigned)threads + 1);
    for (long thread = 0; thread < threads; thread++)
        must(pthread_create(&ids[thread], NULL, worker, NULL) == 0, "pthread_create");
    one_round();
    pthread_barrier_wait(&warm);
    kept = 0;
    say("ready\n");
    wait_for_line();
    pthread_barrier_wait(&begin);
    fork_a_child();
    pthread_barrier_wait(&end);
    snprintf(line, sizeof line, "done %ld\n", (long)kept);
    say(line);
    wait_for_line();
    return 0;
}

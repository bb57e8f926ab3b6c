/* Makes a known number of each memory call and fault, from several threads at once.
 *
 * truth THREADS ROUNDS [exit]: says "ready", waits for a line, works, says "done", waits for
 * another line. With "exit" it ends right after the work, without waiting.
 *
 * The calls go past libc, so that nothing but what stands here is made. */
#define _GNU_SOURCE
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "program.h"

#define PAGE 4096L
#define LENGTH (16 * PAGE)
#define TOUCHES 4

static pthread_barrier_t begin, end;
static long rounds;

static void one_round(void)
{
    char *at = (char *)syscall(SYS_mmap, 0L, LENGTH, (long)(PROT_READ | PROT_WRITE),
                               (long)(MAP_PRIVATE | MAP_ANONYMOUS), -1L, 0L);
    must(at != MAP_FAILED, "mmap");
    for (int touch = 0; touch < TOUCHES; touch++)
        *(volatile char *)(at + touch * 2 * PAGE) = 1;
    must(syscall(SYS_mprotect, at, LENGTH, (long)PROT_READ) == 0, "mprotect");
    must(syscall(SYS_madvise, at, LENGTH, (long)MADV_DONTNEED) == 0, "madvise");
    char *grown = (char *)syscall(SYS_mremap, at, LENGTH, 2 * LENGTH, (long)MREMAP_MAYMOVE, 0L);
    must(grown != MAP_FAILED, "mremap");
    must(syscall(SYS_munmap, grown, 2 * LENGTH) == 0, "munmap");
    syscall(SYS_brk, 0L);
    /* One refusal of each, for reasons that differ. */
    must(syscall(SYS_mmap, 0L, 0L, 0L, (long)(MAP_PRIVATE | MAP_ANONYMOUS), -1L, 0L) == -1, "EINVAL");
    must(syscall(SYS_munmap, 1L, PAGE) == -1, "EINVAL");
    must(syscall(SYS_mprotect, PAGE, PAGE, (long)PROT_READ) == -1, "ENOMEM");
    must(syscall(SYS_madvise, PAGE, PAGE, -1L) == -1, "EINVAL");
    must(syscall(SYS_mremap, PAGE, PAGE, 2 * PAGE, 0L, 0L) == -1, "EFAULT");
}

__attribute__((noreturn)) static void *worker(void *unused)
{
    (void)unused;
    pthread_barrier_wait(&begin);
    for (long round = 0; round < rounds; round++)
        one_round();
    pthread_barrier_wait(&end);
    /* A thread that ends gives its stack back with a madvise of libc's. */
    for (;;)
        pause();
}

int main(int count, char **words)
{
    long threads = count > 1 ? atol(words[1]) : 8;
    rounds = count > 2 ? atol(words[2]) : 100;
    int leave = count > 3 && strcmp(words[3], "exit") == 0;
    pthread_t ids[64];
    must(threads > 0 && threads <= 64, "threads");
    pthread_barrier_init(&begin, NULL, (unsigned)threads + 1);
    pthread_barrier_init(&end, NULL, (unsigned)threads + 1);
    for (long thread = 0; thread < threads; thread++)
        must(pthread_create(&ids[thread], NULL, worker, NULL) == 0, "pthread_create");
    say("ready\n");
    wait_for_line();
    pthread_barrier_wait(&begin);
    pthread_barrier_wait(&end);
    if (leave)
        _exit(0);
    say("done\n");
    wait_for_line();
    return 0;
}

/* Allocates, frees and computes for a while; of the C library it calls nothing but the allocator. */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

struct node {
    struct node *next;
    char room[40];
};

__attribute__((noinline)) static void build(long length)
{
    struct node *list = NULL;
    for (long at = 0; at < length; at++) {
        struct node *node = malloc(sizeof *node);
        if (!node)
            abort();
        node->next = list;
        list = node;
    }
    while (list) {
        struct node *next = list->next;
        free(list);
        list = next;
    }
}

__attribute__((noinline)) static void compute(long steps)
{
    volatile long sum = 0;
    for (long at = 0; at < steps; at++)
        sum += at * at;
}

int main(int count, char **words)
{
    long seconds = count > 1 ? atol(words[1]) : 3600;
    puts("ready");
    fflush(stdout);
    getchar();
    for (time_t end = time(NULL) + seconds; time(NULL) < end;) {
        build(100000);
        compute(2000000);
    }
    puts("done");
    fflush(stdout);
    getchar();
    return 0;
}

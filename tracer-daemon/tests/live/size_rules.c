/* Says what malloc takes for each size, as the allocator itself tells it: "SIZE TAKEN" for sizes from 0 to
 * 4096. The first word is how much each block has besides what may be used.
 * With a second word it says "ready" and waits for a line before, and "done" after. */
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>

#include "program.h"

int main(int count, char **words)
{
    long besides = count > 1 ? atol(words[1]) : 0;
    if (count > 2) {
        say("ready\n");
        wait_for_line();
    }
    for (size_t size = 0; size <= 4096; size++) {
        void *block = malloc(size);
        must(block != NULL, "malloc");
        printf("%zu %zu\n", size, malloc_usable_size(block) + (size_t)besides);
        free(block);
    }
    fflush(stdout);
    if (count > 2) {
        say("done\n");
        wait_for_line();
    }
    return 0;
}

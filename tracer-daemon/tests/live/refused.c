/* Asks for more memory than there can be: so many times, of each function. */
#include <stdint.h>
#include <stdlib.h>
#include "program.h"

static volatile size_t too_much = SIZE_MAX / 4;

int main(void)
{
    void *block = malloc(100);
    must(block != NULL, "malloc");
    say("ready\n");
    wait_for_line();
    for (int call = 0; call < 7; call++)
        must(malloc(too_much) == NULL, "too much is there");
    for (int call = 0; call < 5; call++)
        must(realloc(block, too_much) == NULL, "too much is there");
    free(block);
    say("done\n");
    wait_for_line();
    return 0;
}

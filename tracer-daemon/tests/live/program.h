/* How a program that a test watches speaks with it, and gives up. */
#pragma once
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static void must(int holds, const char *what)
{
    if (!holds) {
        perror(what);
        _exit(1);
    }
}

static void wait_for_line(void)
{
    char byte;
    while (read(0, &byte, 1) == 1 && byte != '\n')
        ;
}

static void say(const char *word)
{
    must(write(1, word, strlen(word)) > 0, "write");
}

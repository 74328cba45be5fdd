/* A library for the checks of loader.c to open. */
#define _GNU_SOURCE
#include <stdlib.h>
#include <string.h>

enum { STORAGE = 5000 }; /* more than the loader keeps ready for late libraries */

static _Thread_local int storage[STORAGE];

/* Keep `number` for this thread, or with 0 tell what was kept. */
int touch_thread_storage(int number) {
    if (number)
        storage[0] = storage[STORAGE - 1] = number;
    return storage[0] == storage[STORAGE - 1] ? storage[0] : -1;
}

void free_there(void *block) { free(block); }

char *copy_there(const char *text) { return strdup(text); }

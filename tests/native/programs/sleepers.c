/* sleepers THREADS BLOCKS FREED MOST: threads that allocate so many blocks of up to MOST bytes, free some, and sleep.
 * Prints what is resident in KiB while all of them sleep, more than at first. */
#include "memory.h"

#include <pthread.h>
#include <stdio.h>

static pthread_barrier_t asleep, never;
static int blocks, freed;
static size_t most;

static void *work(void *number) {
    unsigned state = 1 + (unsigned)(size_t)number * 2654435761u;
    void *block[256];
    for (int i = 0; i < blocks; i++) {
        state = state * 1103515245 + 12345;
        size_t size = 1 + (state >> 8) % most;
        block[i] = malloc(size);
        memset(block[i], 1, size);
    }
    for (int i = 0; i < freed; i++)
        free(block[i]);
    pthread_barrier_wait(&asleep);
    pthread_barrier_wait(&never);
    return NULL;
}

int main(int count, char **arguments) {
    if (count != 5)
        return 2;
    int threads = atoi(arguments[1]);
    blocks = atoi(arguments[2]), freed = atoi(arguments[3]), most = atol(arguments[4]);
    pthread_barrier_init(&asleep, NULL, threads + 1);
    pthread_barrier_init(&never, NULL, threads + 1);
    long before = resident();
    for (int i = 0; i < threads; i++) {
        pthread_t thread;
        if (pthread_create(&thread, NULL, work, (void *)(size_t)i) != 0)
            return 1;
    }
    pthread_barrier_wait(&asleep);
    printf("%ld\n", resident() - before);
    fflush(stdout);
    _exit(0);
}

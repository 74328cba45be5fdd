/* Fragments the heap of a preloaded malloc in four threads, and answers each line with the bytes of all blocks that
 * live, as malloc_usable_size says. */
#include <malloc.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { BLOCKS = 30000, THREADS = 4 };
static pthread_barrier_t barrier;
static atomic_size_t live;
static void *remote[THREADS][BLOCKS];

static void *work(void *argument)
{
    uintptr_t own = (uintptr_t)argument;
    void **mine = remote[own];
    unsigned state = 1 + (unsigned)own;
    for (int i = 0; i < BLOCKS; i++) {
        state = state * 1103515245u + 12345u;
        size_t size = i % 100 ? 1 + (state >> 8) % 2000 : 1 + (state >> 8) % 400000;
        mine[i] = memset(malloc(size), 0x2e, size);
        live += malloc_usable_size(mine[i]);
    }
    pthread_barrier_wait(&barrier);
    void **others = remote[(own + 1) % THREADS];
    for (int i = 0; i < BLOCKS; i++) {
        void **one = i % 5 == 1 ? others + i : i % 5 > 1 ? mine + i : NULL; /* some are freed by another thread */
        if (one) {
            live -= malloc_usable_size(*one);
            free(*one);
        }
    }
    pthread_barrier_wait(&barrier);
    pause();
    return argument;
}

int main(void)
{
    static char line[64], out[256];
    setvbuf(stdin, line, _IOFBF, sizeof line);
    setvbuf(stdout, out, _IOLBF, sizeof out);
    pthread_t thread;
    pthread_barrier_init(&barrier, NULL, THREADS + 1);
    for (int i = 0; i < THREADS; i++)
        pthread_create(&thread, NULL, work, (void *)(uintptr_t)i);
    pthread_barrier_wait(&barrier);
    pthread_barrier_wait(&barrier);
    puts("ready");
    while (fgets(line, sizeof line, stdin))
        printf("%zu\n", (size_t)live);
    return 0;
}

/* drains SCENARIO MIB LEAST MOST: MIB of blocks of LEAST to MOST bytes are allocated and written to, and all but a tenth
 * are freed, in random order.
 *     alone      by one thread
 *     idle       by each of eight threads, which then sleep
 *     handed     allocated by one thread, which then sleeps, and freed by another
 *     forked     in a forked child
 *     swings     six times, 50 ms apart; after a second of rest a few blocks come and go
 * Prints what is resident and what is live then, in KiB, without malloc_trim. */
#include "memory.h"

#include <malloc.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/wait.h>

enum { THREADS = 8, KEPT = 10, SWINGS = 6 };

static size_t least, most;
static pthread_barrier_t done, never;

struct work {
    char **block;
    size_t wanted, blocks, live;
};

static struct work begin(size_t wanted) {
    struct work work = {NULL, wanted, 0, 0};
    size_t room = (wanted / least + 1) * sizeof(char *);
    work.block = mmap(NULL, room, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    memset(work.block, 0, room);
    return work;
}

static void fill(struct work *work) {
    work->blocks = 0;
    for (size_t sum = 0; sum < work->wanted;) {
        size_t size = least + below(most - least + 1);
        char *block = work->block[work->blocks++] = malloc(size);
        memset(block, 1, size);
        sum += size;
    }
}

/* Free all blocks but the first ones, in random order. */
static void *drain(void *argument) {
    struct work *work = argument;
    size_t first = work->blocks / KEPT;
    for (size_t left = work->blocks - first; left > 0; left--) {
        size_t chosen = first + below(left);
        free(work->block[chosen]);
        work->block[chosen] = work->block[first + left - 1];
    }
    work->live = 0;
    for (size_t i = 0; i < first; i++)
        work->live += malloc_usable_size(work->block[i]);
    work->blocks = first;
    return NULL;
}

static void *fill_and_drain(void *work) {
    fill(work);
    drain(work);
    pthread_barrier_wait(&done);
    pthread_barrier_wait(&never);
    return NULL;
}

static void swing(struct work *work) {
    for (int i = 0; i < SWINGS; i++) {
        for (size_t k = 0; k < work->blocks; k++)
            free(work->block[k]);
        fill(work);
        drain(work);
        usleep(50000);
    }
    for (int i = 0; i < 12; i++) {
        usleep(100000);
        for (int k = 0; k < 20; k++)
            free(malloc(40000));
    }
}

static void report(long before, size_t live) {
    printf("%ld %zu\n", resident() - before, live >> 10);
    fflush(stdout);
    _exit(0);
}

int main(int count, char **arguments) {
    if (count != 5)
        return 2;
    const char *scenario = arguments[1];
    size_t wanted = atol(arguments[2]) << 20;
    least = atol(arguments[3]), most = atol(arguments[4]);
    struct work work[THREADS];
    pthread_t thread;
    int threads = strcmp(scenario, "idle") ? 1 : THREADS;
    for (int i = 0; i < threads; i++)
        work[i] = begin(wanted / threads);
    long before = resident();
    if (!strcmp(scenario, "alone"))
        fill(work), drain(work);
    else if (!strcmp(scenario, "swings"))
        swing(work);
    else if (!strcmp(scenario, "idle")) {
        pthread_barrier_init(&done, NULL, threads + 1);
        pthread_barrier_init(&never, NULL, threads + 1);
        for (int i = 0; i < threads; i++)
            pthread_create(&thread, NULL, fill_and_drain, work + i);
        pthread_barrier_wait(&done);
    } else if (!strcmp(scenario, "handed")) {
        fill(work);
        pthread_create(&thread, NULL, drain, work);
        pthread_join(thread, NULL);
    } else if (!strcmp(scenario, "forked")) {
        int status;
        if (fork()) {
            wait(&status);
            return status != 0;
        }
        fill(work), drain(work);
    }
    size_t live = 0;
    for (int i = 0; i < threads; i++)
        live += work[i].live;
    report(before, live);
}

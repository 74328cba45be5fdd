/* instructions WORKLOAD N [SIZE]: about N operations of a workload, in the same order each time.

   Threads take turns, so that an allocator executes the same instructions in every run. */
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { BATCH = 1000, MANY = 20000, FEW = 500, STRINGS = 50, REPLACED = 5000 };

static void *blocks[MANY];
static uint64_t state;
static long count;
static pthread_barrier_t turn;

static void seed(void) {
    state = 88172645463325252;
}

static uint64_t next_random(void) {
    state ^= state << 13;
    state ^= state >> 7;
    return state ^= state << 17;
}

static size_t between(size_t least, size_t most) {
    return least + next_random() % (most - least + 1);
}

static void *block(size_t size) {
    void *place = malloc(size);
    *(volatile uintptr_t *)place = (uintptr_t)place;
    return place;
}

static void pairs(long n, size_t size) {
    while (n-- > 0)
        free(block(size));
}

static void fill(void) {
    seed();
    for (int i = 0; i < BATCH; i++)
        blocks[i] = block(between(16, 256));
}

static void lifo(long n) {
    for (long done = 0; done < n; done += BATCH) {
        fill();
        for (int i = BATCH - 1; i >= 0; i--)
            free(blocks[i]);
    }
}

static void fifo(long n) {
    for (long done = 0; done < n; done += BATCH) {
        fill();
        for (int i = 0; i < BATCH; i++)
            free(blocks[i]);
    }
}

static void replace(long n, int live, size_t least, size_t most) {
    while (n-- > 0) {
        int which = (int)(next_random() % (uint64_t)live);
        free(blocks[which]);
        blocks[which] = block(between(least, most));
    }
}

static void random_set(long n, int live, size_t least, size_t most) {
    seed();
    for (int i = 0; i < live; i++)
        blocks[i] = block(between(least, most));
    replace(n, live, least, most);
}

/* One vector that doubles: ten calls of realloc. */
static void vectors(long n) {
    for (long done = 0; done < n; done += 10) {
        char *place = malloc(64);
        for (size_t size = 128; size <= 65536; size *= 2)
            place = realloc(place, size);
        free(place);
    }
}

static void strings(long n) {
    seed();
    for (long done = 0; done < n;) {
        for (int i = 0; i < STRINGS; i++)
            blocks[i] = malloc(16);
        for (size_t size = 16; size < 2048; size += between(1, 32), done += STRINGS)
            for (int i = 0; i < STRINGS; i++)
                blocks[i] = realloc(blocks[i], size);
        for (int i = 0; i < STRINGS; i++)
            free(blocks[i]);
    }
}

static void *produce(void *nothing) {
    for (long done = 0; done < count; done += BATCH) {
        fill();
        pthread_barrier_wait(&turn);
        pthread_barrier_wait(&turn);
    }
    return nothing;
}

/* One thread allocates, another frees. */
static void remote(long n) {
    pthread_t producer;
    count = n;
    pthread_barrier_init(&turn, NULL, 2);
    pthread_create(&producer, NULL, produce, NULL);
    for (long done = 0; done < n; done += BATCH) {
        pthread_barrier_wait(&turn);
        for (int i = 0; i < BATCH; i++)
            free(blocks[i]);
        pthread_barrier_wait(&turn);
    }
    pthread_join(producer, NULL);
}

static void *inherit(void *nothing) {
    replace(REPLACED, BATCH, 16, 500);
    return nothing;
}

/* Threads one after the other: each replaces blocks that the last one left. */
static void successors(long n) {
    fill();
    for (long done = 0; done < n; done += REPLACED) {
        pthread_t heir;
        pthread_create(&heir, NULL, inherit, NULL);
        pthread_join(heir, NULL);
    }
}

int main(int argc, char **argv) {
    const char *name = argv[1];
    long n = argc > 2 ? atol(argv[2]) : 0;
    if (strcmp(name, "pairs") == 0)
        pairs(n, (size_t)atol(argv[3]));
    else if (strcmp(name, "lifo") == 0)
        lifo(n);
    else if (strcmp(name, "fifo") == 0)
        fifo(n);
    else if (strcmp(name, "random_set") == 0)
        random_set(n, MANY, 16, 512);
    else if (strcmp(name, "random_large") == 0)
        random_set(n, FEW, 512, 16384);
    else if (strcmp(name, "vectors") == 0)
        vectors(n);
    else if (strcmp(name, "strings") == 0)
        strings(n);
    else if (strcmp(name, "remote") == 0)
        remote(n);
    else if (strcmp(name, "successors") == 0)
        successors(n);
    else
        return 2;
    return 0;
}

/* Fragments the heap of a preloaded jemalloc in four threads, and answers lines: `stats` with jemalloc's own figures
 * (allocated, active, retained, dirty and muzzy bytes, bytes in caches), `purge` the same after it has given its free
 * pages back, and by how much the anonymous resident set shrank. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { BLOCKS = 30000, THREADS = 4, ALL_ARENAS = 4096 };
static int (*control)(const char *, void *, size_t *, void *, size_t);
static pthread_barrier_t barrier;

static size_t number(const char *format)
{
    char name[100];
    size_t value = 0, size = sizeof value;
    snprintf(name, sizeof name, format, ALL_ARENAS);
    control(name, &value, &size, NULL, 0);
    return value;
}

static long resident(void)
{
    char line[256];
    long kib = 0;
    FILE *file = fopen("/proc/self/smaps_rollup", "r");
    while (fgets(line, sizeof line, file))
        if (sscanf(line, "Anonymous: %ld", &kib) == 1)
            break;
    fclose(file);
    return kib * 1024;
}

static void *work(void *argument)
{
    static __thread void *mine[BLOCKS];
    unsigned state = 1 + (unsigned)(uintptr_t)argument;
    for (int i = 0; i < BLOCKS; i++) {
        state = state * 1103515245u + 12345u;
        size_t size = i % 100 ? 1 + (state >> 8) % 2000 : 1 + (state >> 8) % 200000;
        mine[i] = memset(malloc(size), 0x2e, size);
    }
    for (int i = 0; i < BLOCKS; i++)
        if (i % 5)
            free(mine[i]);
    pthread_barrier_wait(&barrier);
    pause();
    return argument;
}

int main(void)
{
    static char line[64], out[256];
    setvbuf(stdin, line, _IOFBF, sizeof line);
    setvbuf(stdout, out, _IOLBF, sizeof out);
    control = (int (*)(const char *, void *, size_t *, void *, size_t))dlsym(RTLD_DEFAULT, "mallctl");
    pthread_t thread;
    pthread_barrier_init(&barrier, NULL, THREADS + 1);
    for (int i = 0; i < THREADS; i++)
        pthread_create(&thread, NULL, work, (void *)(uintptr_t)i);
    pthread_barrier_wait(&barrier);
    puts("ready");
    for (char word[16]; scanf("%15s", word) == 1;) {
        uint64_t epoch = 1;
        char purge[40];
        long before = resident();
        if (!strcmp(word, "purge")) {
            snprintf(purge, sizeof purge, "arena.%d.purge", ALL_ARENAS);
            control(purge, NULL, NULL, NULL, 0);
        }
        control("epoch", NULL, NULL, &epoch, sizeof epoch);
        printf("%zu %zu %zu %zu %zu %ld\n", number("stats.allocated"), number("stats.active"), number("stats.retained"),
               4096 * (number("stats.arenas.%d.pdirty") + number("stats.arenas.%d.pmuzzy")),
               number("stats.arenas.%d.tcache_bytes"), before - resident());
    }
    return 0;
}

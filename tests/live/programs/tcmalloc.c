/* Fragments the heap of a preloaded tcmalloc in four threads, and answers each line with its own figures: bytes that are
 * allocated, of the heap, free pages, unmapped pages, and in threads' caches. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { BLOCKS = 30000, THREADS = 4 };
static int (*property)(const char *, size_t *);
static pthread_barrier_t barrier;

static size_t number(const char *name)
{
    size_t value = 0;
    property(name, &value);
    return value;
}

static void *work(void *argument)
{
    static __thread void *mine[BLOCKS];
    unsigned state = 1 + (unsigned)(uintptr_t)argument;
    for (int i = 0; i < BLOCKS; i++) {
        state = state * 1103515245u + 12345u;
        size_t size = i % 100 ? 1 + (state >> 8) % 2000 : 1 + (state >> 8) % 400000;
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
    property = (int (*)(const char *, size_t *))dlsym(RTLD_DEFAULT, "MallocExtension_GetNumericProperty");
    pthread_t thread;
    pthread_barrier_init(&barrier, NULL, THREADS + 1);
    for (int i = 0; i < THREADS; i++)
        pthread_create(&thread, NULL, work, (void *)(uintptr_t)i);
    pthread_barrier_wait(&barrier);
    puts("ready");
    for (char word[16]; scanf("%15s", word) == 1;)
        printf("%zu %zu %zu %zu %zu\n", number("generic.current_allocated_bytes"), number("generic.heap_size"),
               number("tcmalloc.pageheap_free_bytes"), number("tcmalloc.pageheap_unmapped_bytes"),
               number("tcmalloc.current_total_thread_cache_bytes"));
    return 0;
}

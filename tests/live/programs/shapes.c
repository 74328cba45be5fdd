/* Heaps of every shape that glibc gives them: argv[1] says which. Answers lines: `info` with malloc's own figures
 * (system, free, fast, mapped blocks, mapped bytes), `trim` with the anonymous bytes that malloc_trim took away. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <malloc.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#ifdef BEFORE_2_33
#define mallinfo2 mallinfo
#endif

enum { BLOCKS = 20000, PAGE = 4096 };
static void *kept[BLOCKS];
static unsigned state = 1;

static unsigned next(unsigned most)
{
    state = state * 1103515245u + 12345u;
    return (state >> 8) % most;
}

static void *filled(size_t size)
{
    return memset(malloc(size), 0x2e, size);
}

/* Blocks of up to `most` bytes, of which one in `of` stays. */
static void fragment(int count, unsigned most, int of)
{
    for (int i = 0; i < count; i++)
        kept[i] = filled(16 + next(most));
    for (int i = 0; i < count; i++)
        if (i % of) {
            free(kept[i]);
            kept[i] = NULL;
        }
}

static void holes(void) { fragment(BLOCKS, 3000, 9); }

static void fast(void) { fragment(BLOCKS, 100, 2); }

static void foreign(void)
{
    for (int round = 0; round < 4; round++) {
        for (int i = 0; i < 500; i++)
            kept[500 * round + i] = filled(1000 + next(3000));
        char *mine = sbrk(10000 + 24 * round);
        memset(mine, 0x55, 10000);
    }
    for (int i = 0; i < 2000; i += 2)
        free(kept[i]);
}

static void walled(void)
{
    kept[0] = filled(100);
    char *end = sbrk(0);
    mmap(end + PAGE, PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
    fragment(BLOCKS, 3000, 9);
}

/* The break cannot grow, and of the mappings in its place most have no free chunk: nothing leads to them. */
static void lost(void)
{
    kept[0] = filled(100);
    char *end = sbrk(0);
    mmap(end + PAGE, PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
    for (int i = 1; i < 6000; i++) {
        kept[i] = filled(1500);
        if (i % 500 == 0)
            mmap(NULL, PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    }
    for (int i = 5900; i < 5950; i += 2)
        free(kept[i]);
}

static void mapped(void)
{
    mallopt(M_MMAP_THRESHOLD, 128 << 10);
    for (int i = 0; i < 20; i++)
        kept[i] = filled((200 + 10 * i) << 10);
    kept[20] = memalign(1 << 20, 300 << 10);
    kept[21] = memalign(256, 300 << 10);
    kept[22] = memalign(PAGE, 300 << 10);
    memset(mmap(NULL, 1 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), 1, 1 << 20);
    kept[5] = realloc(kept[5], 2 << 20);
    free(kept[7]);
    free(kept[8]);
    fragment(10, 100, 2);
}

static pthread_barrier_t barrier;

static void *work(void *argument)
{
    void *mine[3000];
    for (int i = 0; i < 3000; i++)
        mine[i] = filled(20 + i % 900);
    for (int i = 0; i < 3000; i++)
        if (i % 7)
            free(mine[i]);
    pthread_barrier_wait(&barrier);
    pause();
    return argument;
}

static void threads(void)
{
    pthread_t thread;
    pthread_barrier_init(&barrier, NULL, 5);
    for (int i = 0; i < 4; i++)
        pthread_create(&thread, NULL, work, NULL);
    pthread_barrier_wait(&barrier);
}

static void *fill_segments(void *argument)
{
    static void *mine[50000];
    for (int i = 0; i < 50000; i++)
        mine[i] = filled(3000 + next(2000));
    for (int i = 0; i < 50000; i++)
        if (i % 3)
            free(mine[i]);
    pthread_barrier_wait(&barrier);
    pause();
    return argument;
}

static void segments(void)
{
    pthread_t thread;
    pthread_barrier_init(&barrier, NULL, 2);
    pthread_create(&thread, NULL, fill_segments, NULL);
    pthread_barrier_wait(&barrier);
}

static void two(void)
{
    void *library = dlmopen(LM_ID_NEWLM, "libc.so.6", RTLD_NOW);
    void *(*other)(size_t) = (void *(*)(size_t))dlsym(library, "malloc");
    for (int i = 0; i < 2000; i++)
        memset(other(500 + next(3000)), 1, 500);
    holes();
}

static void locked(void)
{
    mlockall(MCL_CURRENT | MCL_FUTURE);
    holes();
}

static void damaged(void)
{
    holes();
    char *victim = filled(1000);
    filled(1000);
    memset(victim, 0x41, 1100);
}

static void unlinked(void)
{
    holes();
    char *victim = filled(2000);
    filled(100);
    free(victim);
    memset(victim, 0x30, 16);
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

static struct {
    const char *name;
    void (*make)(void);
} shapes[] = {{"holes", holes},     {"fast", fast},       {"foreign", foreign},   {"walled", walled},     {"lost", lost},
              {"mapped", mapped},   {"threads", threads}, {"segments", segments}, {"two", two},
              {"locked", locked},   {"damaged", damaged}, {"unlinked", unlinked}};

int main(int count, char **arguments)
{
    static char line[64], out[256];
    setvbuf(stdin, line, _IOFBF, sizeof line);
    setvbuf(stdout, out, _IOLBF, sizeof out);
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
        if (count > 1 && !strcmp(shapes[i].name, arguments[1]))
            shapes[i].make();
    puts("ready");
    for (char word[16]; scanf("%15s", word) == 1;) {
        if (!strcmp(word, "trim")) {
            long before = resident();
            malloc_trim(0);
            printf("%ld\n", before - resident());
        } else {
            struct mallinfo2 info = mallinfo2();
            printf("%ld %ld %ld %ld %ld\n", (long)info.arena, (long)info.fordblks, (long)info.fsmblks,
                   (long)info.hblks, (long)info.hblkhd);
        }
    }
    return 0;
}

/* settings: what a heap does that the environment can set, one word and number each. */
#include <malloc.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { THREADS = 12, FREED = 200 };
static char text[4096];
static pthread_barrier_t barrier;

static void *allocate(void *nothing) {
    void *block = malloc(100);
    pthread_barrier_wait(&barrier);
    pthread_barrier_wait(&barrier);
    free(block);
    return nothing;
}

static int arenas(void) {
    pthread_t thread[THREADS];
    pthread_barrier_init(&barrier, NULL, THREADS + 1);
    for (int i = 0; i < THREADS; i++)
        pthread_create(&thread[i], NULL, allocate, NULL);
    pthread_barrier_wait(&barrier);
    FILE *memory = fmemopen(NULL, 1 << 20, "w+");
    malloc_info(0, memory);
    rewind(memory);
    int count = 0;
    while (fgets(text, sizeof text, memory))
        count += strncmp(text, "<heap nr", 8) == 0;
    fclose(memory);
    pthread_barrier_wait(&barrier);
    for (int i = 0; i < THREADS; i++)
        pthread_join(thread[i], NULL);
    return count;
}

/* How many of these freed blocks do not come back to the arena: the thread's cache has them. */
static int cached(size_t size) {
    void *block[FREED], *between[FREED];
    for (int i = 0; i < FREED; i++)
        block[i] = malloc(size), between[i] = malloc(size + 100);
    size_t before = mallinfo2().uordblks;
    for (int i = 0; i < FREED; i++)
        free(block[i]);
    size_t gone = before - mallinfo2().uordblks, chunk = malloc_usable_size(between[0]) - 100 + 8;
    for (int i = 0; i < FREED; i++)
        free(between[i]);
    return FREED - (int)(gone / (chunk / 16 * 16));
}

int main(void) {
    unsigned char *block = malloc(3000), *guard = malloc(24);
    size_t arena = mallinfo2().arena;
    int filled = block[17];
    free(block);
    int freed = block[200];
    free(guard);
    void *most_of_the_top = malloc(100000);
    int mapped[3];
    for (int i = 0; i < 3; i++) {
        size_t before = mallinfo2().hblks;
        void *large = malloc(i > 0 ? 400000 : 100000);
        mapped[i] = mallinfo2().hblks - before;
        if (i == 1)
            free(large); /* from now on the threshold lies above, unless something was set */
    }
    void *many[20];
    for (int i = 0; i < 20; i++)
        many[i] = malloc(60000);
    size_t high = mallinfo2().arena;
    for (int i = 0; i < 20; i++)
        free(many[i]);
    int trims = mallinfo2().arena < high;
    int large = cached(1000), small = cached(200);
    printf("arena %zu filled %d freed %d mapped %d%d%d trims %d cached %d %d arenas %d\n", arena, filled, freed, mapped[0],
           mapped[1], mapped[2], trims, large, small, arenas());
    free(most_of_the_top);
    return 0;
}

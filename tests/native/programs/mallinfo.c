/* mallinfo SEED STEPS LARGEST [SMALLEST]: requests drawn by lot, and after each few what mallinfo2 says, less what it
 * said first.
 * mallinfo xml: malloc_info of a heap with two arenas, to standard output.
 * mallinfo fast: the same, with one arena that has chunks of two sizes in fast bins.
 * mallinfo mallopt: what mallopt answers for many options and values.
 * mallinfo trim PAD: keepcost after malloc_trim. */
#include <malloc.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SLOTS = 64, SMALLEST = 1100 };
static void *slot[SLOTS];
static struct mallinfo2 first;

static unsigned below(unsigned most) {
    static unsigned long state = 88172645463325252ul;
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return state % most;
}

static void show(void) {
    struct mallinfo2 now = mallinfo2();
    char line[400];
    int size = snprintf(line, sizeof line, "%zd %zd %zu %zu %zu %zu %zu %zd %zd %zu\n", now.arena - first.arena,
                        now.ordblks - first.ordblks, now.smblks, now.hblks, now.hblkhd, now.usmblks, now.fsmblks,
                        now.uordblks - first.uordblks, now.fordblks - first.fordblks, now.keepcost);
    fwrite(line, 1, size, stdout);
}

static void at_random(unsigned steps, unsigned largest, unsigned smallest) {
    for (unsigned step = 0; step < steps; step++) {
        void **p = &slot[below(SLOTS)];
        size_t size = smallest + below(below(4) ? smallest > 1 ? 3000 : 100 : largest);
        switch (below(5)) {
        case 0:
            free(*p);
            *p = NULL;
            break;
        case 1:
            if (*p)
                *p = realloc(*p, size);
            break;
        case 2:
            free(*p);
            *p = calloc(1, size);
            break;
        default:
            free(*p);
            *p = malloc(size);
        }
        if (step % 7 == 0)
            show();
    }
    for (int i = 0; i < SLOTS; i++)
        free(slot[i]);
    show();
}

static void *allocate(void *nothing) {
    for (int i = 0; i < SLOTS; i++)
        slot[i] = malloc(2000);
    for (int i = 0; i < SLOTS; i += 2)
        free(slot[i]);
    return nothing;
}

static int as_xml(void) {
    pthread_t thread;
    allocate(NULL);
    pthread_create(&thread, NULL, allocate, NULL);
    pthread_join(thread, NULL);
    void *mapped = malloc(1000000);
    int wrong = malloc_info(1, stdout), right = malloc_info(0, stdout);
    fprintf(stderr, "%d %d\n", wrong, right);
    return mapped == NULL;
}

static int with_fast_bins(void) {
    for (int i = 0; i < SLOTS; i++)
        slot[i] = malloc(i % 3 ? 100 : 40);
    for (int i = 0; i < SLOTS; i++)
        free(slot[i]);
    return malloc_info(0, stdout);
}

static void options(void) {
    static const int values[] = {0, 1, 64, 100000, -1};
    for (int option = -10; option < 6; option++)
        for (unsigned i = 0; i < sizeof values / sizeof *values; i++)
            printf("%d %d %d\n", option, values[i], mallopt(option, values[i]));
}

static void trim(size_t pad) {
    void *block = malloc(3000);
    free(malloc(100000));
    printf("%d", malloc_trim(pad));
    printf(" %zu\n", mallinfo2().keepcost);
    free(block);
}

int main(int count, char **arguments) {
    static char buffer[1 << 16];
    setvbuf(stdout, buffer, _IOFBF, sizeof buffer);
    free(malloc(1));
    first = mallinfo2();
    if (count == 2 && strcmp(arguments[1], "xml") == 0)
        return as_xml();
    if (count == 2 && strcmp(arguments[1], "fast") == 0)
        return with_fast_bins();
    if (count == 2)
        options();
    else if (count == 3)
        trim(strtoul(arguments[2], NULL, 0));
    else {
        for (int i = atoi(arguments[1]); i > 0; i--)
            below(2);
        at_random(atoi(arguments[2]), atoi(arguments[3]), count > 4 ? atoi(arguments[4]) : SMALLEST);
    }
    return 0;
}

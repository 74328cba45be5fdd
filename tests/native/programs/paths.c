/* Random trees of calls in two threads. Each block's size says which functions called: a digit of base 4 for each. */
#include <alloca.h>
#include <pthread.h>
#include <stdlib.h>

#define ROUNDS 3000
#define DEEPEST 9

typedef void function(unsigned *random, int depth, unsigned long path);
static function zero, one, two, three;
static function *const functions[] = {zero, one, two, three};

static unsigned next(unsigned *random) { return (*random = *random * 1103515245 + 12345) >> 16; }

/* One of four places from which the function may call, so that return addresses differ. */
static inline __attribute__((always_inline)) void go_on(unsigned *random, int depth, unsigned long path) {
    if (depth == DEEPEST || next(random) % 5 == 0)
        free(malloc(path));
    else
        for (int i = next(random) % 3; i >= 0; i--) {
            unsigned digit = next(random) % 4;
            functions[digit](random, depth + 1, path * 4 + digit);
        }
    __asm__ volatile("" ::: "memory");
}

#define FUNCTION(NAME, BEFORE)                                                                                         \
    static __attribute__((noinline)) void NAME(unsigned *random, int depth, unsigned long path) {                      \
        BEFORE;                                                                                                        \
        go_on(random, depth, path);                                                                                    \
        if (next(random) % 7 == 0)                                                                                     \
            go_on(random, depth, path);                                                                                \
    }

FUNCTION(zero, )
FUNCTION(one, volatile char room[200]; room[path % 200] = 1)
FUNCTION(two, volatile char *room = alloca(path % 300 + 1); room[0] = 1)
FUNCTION(three, volatile char room[5000]; room[path % 5000] = 1)

static void *run(void *seed) {
    unsigned random = (unsigned)(size_t)seed;
    for (int i = 0; i < ROUNDS / DEEPEST; i++)
        functions[i % 4](&random, 0, 4 + i % 4);
    return NULL;
}

int main(void) {
    pthread_t id;
    pthread_create(&id, NULL, run, (void *)7);
    run((void *)1);
    pthread_join(id, NULL);
    return 42;
}

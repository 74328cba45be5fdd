/* handler WHAT SIZE HOW: frees a block of SIZE bytes twice, and goes on in its handler of SIGABRT. WHAT is

   fork      the handler allocates and frees, and forks, and so does its child
   again     it misuses the heap once more
   nested    the same, in a handler that does not block its own signal
   jump      it leaves by siglongjmp; the program allocates, forks, and misuses the heap once more
   threads   it waits until three other threads have allocated, which they do all the while
   both      two threads misuse the heap at once

   HOW is "once", twice in a row, or "late", after another block, and then all caches are emptied: whoever does not
   notice at once then does, with a lock held. Status 42 says that all went well. An alarm ends what hangs. */
#include <malloc.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { OTHERS = 3, ENOUGH = 2000 };

static const char *what, *how;
static size_t size;
static char *volatile blocks[2][2];
static sigjmp_buf back;
static volatile int reports;
static volatile long calls[OTHERS];
static char *volatile guard;
static pthread_barrier_t both_ready;

static void use_the_heap(void) {
    /* What was freed twice unnoticed may be handed out twice: then the size of the misuse is left alone. */
    size_t sizes[] = {1, 40, 600, 9000, 70000, 300000, *how == 'o' ? size : 40};
    char *got[sizeof sizes / sizeof *sizes];
    for (int round = 0; round < 3; round++) {
        for (unsigned i = 0; i < sizeof sizes / sizeof *sizes; i++) {
            if (!(got[i] = malloc(sizes[i]))) _exit(2);
            memset(got[i], round, sizes[i]);
        }
        for (unsigned i = 0; i < sizeof sizes / sizeof *sizes; i++) {
            if (!(got[i] = realloc(got[i], 2 * sizes[i]))) _exit(2);
            free(got[i]);
        }
        free(calloc(3, 1000));
    }
}

static void make_children(int depth) {
    int status;
    pid_t child = fork();
    if (child == 0) {
        use_the_heap();
        if (depth) make_children(depth - 1);
        _exit(7);
    }
    if (child < 0 || waitpid(child, &status, 0) != child) _exit(3);
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 7) _exit(4);
    use_the_heap();
}

static void misuse(int which) {
    free(blocks[which][0]);
    if (*how == 'l') free(blocks[which][1]);
    free(blocks[which][0]);
    malloc_trim(0);
    _exit(9); /* unnoticed */
}

static void crashed(int number) {
    (void)number;
    switch (reports++ ? 0 : *what) {
    case 'f': use_the_heap(); make_children(1); break;
    case 'a': case 'n': misuse(1);
    case 'j': siglongjmp(back, 1);
    case 't':
        for (int i = 0; i < OTHERS; i++)
            for (long before = calls[i]; calls[i] < before + ENOUGH;) usleep(100);
        use_the_heap();
        make_children(0);
        break;
    case 'b': use_the_heap(); make_children(0); break;
    }
    _exit(42);
}

static void *other(void *which) {
    for (;;) {
        free(malloc(size + calls[(long)which] % 100));
        calls[(long)which]++;
    }
    return 0;
}

static void *one_of_both(void *which) {
    pthread_barrier_wait(&both_ready);
    misuse((long)which);
    return 0;
}

int main(int argc, char **argv) {
    struct sigaction action = {.sa_handler = crashed};
    pthread_t thread;
    if (argc != 4) return 1;
    what = argv[1];
    how = argv[3];
    size = strtoul(argv[2], 0, 10);
    action.sa_flags = *what == 'n' ? SA_NODEFER : 0;
    sigaction(SIGABRT, &action, 0);
    alarm(10);
    for (int i = 0; i < 4; i++) {
        blocks[i % 2][i / 2] = malloc(size + 3000 * (i % 2));
        guard = malloc(40); /* so that freed blocks have no free neighbours */
    }
    if (*what == 't')
        for (long i = 0; i < OTHERS; i++) pthread_create(&thread, 0, other, (void *)i);
    if (*what == 'b') {
        pthread_barrier_init(&both_ready, 0, 2);
        pthread_create(&thread, 0, one_of_both, (void *)0);
        one_of_both((void *)1);
    }
    if (*what != 'j' || !sigsetjmp(back, 1)) misuse(0);
    use_the_heap();
    make_children(1);
    misuse(1);
}

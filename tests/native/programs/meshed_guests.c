/* meshed_guests vfork|clone: a child on the memory of this process trims the heap while a thread of the process writes.
 * No page may move then: the thread's writes would be lost. */
#define _GNU_SOURCE
#include "memory.h"

#include <malloc.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/wait.h>

enum { BLOCKS = 4000, SHARE = 10, WORDS = 6 };

static unsigned long *block[BLOCKS];
static atomic_int ends, lost;

static void scatter(void) {
    static unsigned long *all[SHARE * BLOCKS];
    for (int i = 0; i < SHARE * BLOCKS; i++)
        all[i] = calloc(WORDS, sizeof(long));
    for (int i = 0; i < SHARE * BLOCKS; i++) {
        size_t k = i + below(SHARE * BLOCKS - i);
        unsigned long *other = all[i];
        all[i] = all[k];
        all[k] = other;
    }
    for (int i = 0; i < SHARE * BLOCKS; i++)
        if (i < BLOCKS)
            block[i] = all[i];
        else
            free(all[i]);
}

static void *writer(void *ignored) {
    for (unsigned long word = 1; !ends; word++) {
        for (int i = 0; i < BLOCKS; i++)
            for (int k = 0; k < WORDS; k++)
                ((volatile unsigned long *)block[i])[k] = word;
        for (int i = 0; i < BLOCKS; i++)
            for (int k = 0; k < WORDS; k++)
                lost += block[i][k] != word;
    }
    return ignored;
}

static int trim(void *ignored) {
    (void)ignored;
    malloc_trim(0);
    _exit(0);
}

int main(int count, char **arguments) {
    static char stack[1 << 16];
    pthread_t thread;
    int status = 1;
    scatter();
    pthread_create(&thread, NULL, writer, NULL);
    pid_t child = count > 1 && arguments[1][0] == 'v' ? vfork() : clone(trim, stack + sizeof stack, CLONE_VM | SIGCHLD, NULL);
    if (child == 0)
        trim(NULL);
    waitpid(child, &status, 0);
    long shared = resident_as("Pss_Shmem:");
    ends = 1;
    pthread_join(thread, NULL);
    printf("%d lost, %ld KiB shared, status %d\n", lost, shared, status);
    return lost != 0 || shared != 0 || status != 0;
}

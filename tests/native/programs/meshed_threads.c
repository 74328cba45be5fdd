/* meshed_threads KIND: four threads with blocks of their own, while the first thread trims again and again.
 *   write   each thread writes to its blocks, checks them, frees some and allocates others
 *   fork    the same, and between the trims the first thread forks; each child checks what its parent alone writes to
 *   read    each thread reads from a pipe into a block of its own, most of the time in the system call
 *   blocked as write, with threads that block all signals
 *   used    as write, in a program that has a handler of SIGURG
 *   many    as write, beside seventy threads that sleep
 *   sleep   each thread sleeps, in nanosleep and in poll
 * Prints the KiB of frames that pages share after the last trim, and the longest trim in milliseconds. */
#include "memory.h"

#include <errno.h>
#include <malloc.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/wait.h>
#include <time.h>

enum { THREADS = 4, BLOCKS = 2000, SHARE = 10, TRIMS = 60, SIZE = 48 };

struct own {
    unsigned long *block[BLOCKS], word[BLOCKS];
    unsigned chance;
};

static struct own of[THREADS + 1]; /* the last ones are the first thread's */
static atomic_int ends, ready;
static const char *kind;

static void require(int holds, const char *what) {
    if (!holds) {
        printf("%s: %s\n", kind, what);
        fflush(stdout);
        _exit(1);
    }
}

static double milliseconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1e3 + now.tv_nsec / 1e6;
}

static unsigned lot(struct own *mine, unsigned n) {
    mine->chance = mine->chance * 1103515245 + 12345;
    return (mine->chance >> 16) % n;
}

/* Allocate many blocks and keep one in SHARE, so that pages have little in use. */
static void scatter(struct own *mine) {
    static _Thread_local unsigned long *all[SHARE * BLOCKS];
    for (int i = 0; i < SHARE * BLOCKS; i++)
        all[i] = malloc(SIZE);
    for (int i = 0; i < SHARE * BLOCKS - 1; i++) {
        int k = i + lot(mine, SHARE * BLOCKS - i);
        unsigned long *other = all[i];
        all[i] = all[k];
        all[k] = other;
    }
    for (int i = 0; i < SHARE * BLOCKS; i++)
        if (i >= BLOCKS) {
            free(all[i]);
        } else {
            mine->block[i] = all[i];
            for (int k = 0; k < SIZE / 8; k++)
                all[i][k] = mine->word[i];
        }
}

static void check(struct own *mine) {
    for (int i = 0; i < BLOCKS; i++)
        for (int k = 0; k < SIZE / 8; k++)
            require(mine->block[i][k] == mine->word[i], "a write was lost");
}

static void change(struct own *mine) {
    for (int i = 0; i < BLOCKS; i++) {
        volatile unsigned long *block = mine->block[i];
        mine->word[i]++;
        for (int k = 0; k < SIZE / 8; k++)
            block[k] = block[k] + 1;
    }
}

static void give_up(struct own *mine) {
    for (int i = 0; i < BLOCKS; i++)
        free(mine->block[i]);
}

static void *writer(void *argument) {
    struct own *mine = argument;
    if (*kind == 'b') {
        sigset_t all;
        sigfillset(&all);
        pthread_sigmask(SIG_SETMASK, &all, NULL);
    }
    scatter(mine);
    ready++;
    for (int round = 1; !ends; round++) {
        change(mine);
        check(mine);
        for (int i = lot(mine, 64); i < BLOCKS; i += 64) {
            free(mine->block[i]);
            mine->block[i] = malloc(SIZE);
            for (int k = 0; k < SIZE / 8; k++)
                mine->block[i][k] = mine->word[i];
        }
        if (round % 50 == 0) {
            give_up(mine);
            scatter(mine);
        }
    }
    check(mine);
    give_up(mine);
    return NULL;
}

static int channel[THREADS][2];

static void *reader(void *argument) {
    struct own *mine = argument;
    int from = channel[mine - of][0];
    unsigned long expected = 0;
    scatter(mine);
    ready++;
    for (int i = 0;; i = (i + 1) % BLOCKS) {
        unsigned long *block = mine->block[i];
        ssize_t size = read(from, block, sizeof *block);
        if (size == 0)
            break;
        require(size == sizeof *block && *block == expected++, "what was read is not what was written");
        mine->word[i] = *block;
        for (int k = 1; k < SIZE / 8; k++)
            block[k] = *block;
    }
    check(mine);
    give_up(mine);
    return NULL;
}

static void write_to_readers(void) {
    static unsigned long next;
    for (int i = 0; i < 20; i++, next++)
        for (int t = 0; t < THREADS; t++)
            require(write(channel[t][1], &next, sizeof next) == sizeof next, "write");
}

static void *sleeper(void *argument) {
    struct own *mine = argument;
    scatter(mine);
    ready++;
    while (!ends) {
        struct timespec left = {0, 20000000};
        double began = milliseconds();
        while (nanosleep(&left, &left) == -1)
            require(errno == EINTR, "nanosleep");
        require(milliseconds() - began >= 19.9, "a short sleep");
        int polled = poll(NULL, 0, 20);
        require(polled == 0 || errno == EINTR, "poll");
        change(mine);
        check(mine);
    }
    give_up(mine);
    return NULL;
}

static void fork_and_check(void) {
    struct own *mine = &of[THREADS];
    pid_t child = fork();
    change(mine);
    check(mine);
    if (child == 0) {
        malloc_trim(0);
        check(mine);
        give_up(mine);
        scatter(mine);
        malloc_trim(0);
        check(mine);
        _exit(0);
    }
    int status;
    require(waitpid(child, &status, 0) == child && status == 0, "the child");
    check(mine);
}

static void *wait_for_ever(void *argument) {
    for (;;)
        pause();
    return argument;
}

static void ignore(int number) { (void)number; }

int main(int count, char **arguments) {
    pthread_t thread[THREADS];
    double longest = 0;
    kind = count > 1 ? arguments[1] : "";
    void *(*body)(void *) = *kind == 'r' ? reader : *kind == 's' ? sleeper : writer;
    if (*kind == 'u')
        signal(SIGURG, ignore);
    for (int t = 0; *kind == 'm' && t < 70; t++)
        pthread_create(&thread[0], NULL, wait_for_ever, NULL);
    for (int t = 0; t < THREADS; t++) {
        of[t].chance = t + 1;
        require(pipe(channel[t]) == 0, "pipe");
        pthread_create(&thread[t], NULL, body, &of[t]);
    }
    scatter(&of[THREADS]);
    while (ready < THREADS)
        usleep(1000);
    for (int i = 0; i < TRIMS; i++) {
        double began = milliseconds();
        malloc_trim(0);
        double took = milliseconds() - began;
        longest = took > longest ? took : longest;
        change(&of[THREADS]);
        check(&of[THREADS]);
        if (*kind == 'r')
            write_to_readers();
        else if (*kind == 'f' && i % 10 == 0)
            fork_and_check();
        else
            usleep(5000);
    }
    long shared = resident_as("Pss_Shmem:");
    ends = 1;
    for (int t = 0; t < THREADS; t++) {
        close(channel[t][1]);
        pthread_join(thread[t], NULL);
    }
    check(&of[THREADS]);
    printf("%ld %.0f\n", shared, longest);
    return 0;
}

/* fork and spawn while other threads use the heap.
 *
 * POSIX allows little in the child of a threaded process, but programs do
 * allocate there, and the C library has always let them.
 */
#include "check.h"

#include <errno.h>
#include <spawn.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

enum { FORKS = 150, BUSY_THREADS = 4, THREADED_FORKS = 20 };

/* Sizes from every part of a heap, so that every lock in it is met. */
static void allocate_every_kind(void) {
    for (size_t size = 8; size <= 2 * MIB; size *= 2) {
        char *block = must_malloc(size), *aligned = must_malloc_aligned(128, size);
        block[size - 1] = aligned[size - 1] = 1;
        free(block);
        free(aligned);
    }
}

static void allocating_child(void) {
    allocate_every_kind();
    torture(3, 300);
}

static void require_children_work(unsigned count, void (*body)(void)) {
    for (unsigned i = 0; i < count; i++) {
        pid_t child = start_child();
        if (child == 0) {
            body();
            _exit(0);
        }
        require_clean_exit(child, "the child of a threaded process");
    }
}

/* A lock held by a thread that fork does not copy is never released. */
static void child_allocates_after_fork(void) {
    start_allocating_threads(BUSY_THREADS);
    require_children_work(FORKS, allocating_child);
    stop_allocating_threads();
}

static void *thread_of_child(void *seed) {
    torture((uintptr_t)seed, 300);
    return NULL;
}

static void threading_child(void) {
    pthread_t first = start_thread(thread_of_child, (void *)1);
    pthread_t second = start_thread(thread_of_child, (void *)2);
    join_thread(first);
    join_thread(second);
    allocate_every_kind();
}

/* The child must also be able to hand out heaps to new threads. */
static void child_starts_threads_after_fork(void) {
    start_allocating_threads(BUSY_THREADS);
    require_children_work(THREADED_FORKS, threading_child);
    stop_allocating_threads();
}

/* --- fork against stdio (glibc BZ 19431) ---------------------------------------
 *
 * fork calls the prepare handlers of pthread_atfork first and then takes the
 * lock on stdio's list of streams.  fflush(NULL) holds that lock while it waits
 * for a stream; getline holds a stream while it allocates its buffer.  A heap
 * whose prepare handler keeps locks until fork has returned closes the circle.
 */

enum {
    LINE = 150 * 1000, /* too long for per-thread caches, so that getline meets the locks */
    READERS = 3,
    LINES_AT_A_TIME = 16,
    ENOUGH_FORKS = 400,
    SECONDS_AT_LEAST = 1,
    SECONDS_AT_MOST = 4,
    TICK = 10 * 1000,         /* microseconds between two looks */
    STALLED_TICKS = 3 * 100,  /* no step of any thread for 3 s */
    TICKS_PER_SECOND = 100,
};

static atomic_bool stdio_stops;
static atomic_ulong forks_done, flushes_done, lines_done;

static FILE *open_long_lines(void) {
    int file = memfd_create("lines", 0);
    FILE *stream = file < 0 ? NULL : fdopen(file, "r+");
    if (!stream)
        cannot_try("a file in memory cannot be opened");
    for (unsigned line = 0; line < 4; line++)
        fprintf(stream, "%0*d\n", LINE, 0);
    rewind(stream);
    return stream;
}

static void read_one_line(FILE *stream) {
    char *line = NULL;
    size_t capacity = 0;
    if (getline(&line, &capacity, stream) < 0)
        rewind(stream);
    free(line);
    lines_done++;
}

static void *read_lines(void *unused) {
    FILE *stream = open_long_lines();
    while (!stdio_stops) {
        for (unsigned i = 0; i < LINES_AT_A_TIME && memory_is_plentiful(); i++)
            read_one_line(stream);
        pause_microseconds(20); /* stream locks are not fair: let the flusher in */
    }
    return unused;
}

static void *flush_all_streams(void *unused) {
    while (!stdio_stops) {
        fflush(NULL);
        flushes_done++;
    }
    return unused;
}

static void *fork_repeatedly(void *unused) {
    while (!stdio_stops) {
        pid_t child = start_child();
        if (child == 0)
            _exit(0);
        require_clean_exit(child, "a child that only exits");
        forks_done++;
    }
    return unused;
}

/* Only a state in which no thread moves counts as a deadlock: one that is
 * merely slow, on a busy machine, is not. */
static void watch_for_deadlock(void) {
    unsigned long seen = 0;
    unsigned stalled = 0;
    for (unsigned tick = 0; tick < SECONDS_AT_MOST * TICKS_PER_SECOND || stalled > 0; tick++) {
        unsigned long steps = forks_done + flushes_done + lines_done;
        stalled = steps == seen ? stalled + 1 : 0;
        seen = steps;
        require(stalled < STALLED_TICKS,
                "deadlock of fork, fflush(NULL) and getline after %lu forks", forks_done);
        if (tick > SECONDS_AT_LEAST * TICKS_PER_SECOND && forks_done > ENOUGH_FORKS)
            return;
        pause_microseconds(TICK);
    }
}

static void fork_while_stdio_is_busy(void) {
    pthread_t threads[READERS + 2];
    for (unsigned i = 0; i < READERS; i++)
        threads[i] = start_thread(read_lines, NULL);
    threads[READERS] = start_thread(flush_all_streams, NULL);
    threads[READERS + 1] = start_thread(fork_repeatedly, NULL);
    watch_for_deadlock();
    stdio_stops = true;
    for (unsigned i = 0; i < READERS + 2; i++)
        join_thread(threads[i]);
}

/* --- inherited blocks -------------------------------------------------------------- */

enum { INHERITED = 1000 };

static size_t inherited_size(size_t index) { return index * 37 % 5000 + 1; }

static void free_inherited(void **blocks, unsigned first, unsigned step) {
    for (size_t i = first; i < INHERITED; i += step) {
        require(intact(blocks[i], inherited_size(i), i), "an inherited block was changed");
        free(blocks[i]);
    }
}

/* The grandchild ends through exit, with its handlers and flushes. */
static void grandchild_frees_the_rest(void **blocks) {
    pid_t child = start_child();
    if (child == 0) {
        free_inherited(blocks, 1, 2);
        torture(4, 2000);
        exit(0);
    }
    require_clean_exit(child, "the grandchild");
}

static void child_frees_inherited_blocks(void) {
    static void *blocks[INHERITED];
    for (size_t i = 0; i < INHERITED; i++)
        fill(blocks[i] = must_malloc(inherited_size(i)), inherited_size(i), i);
    pid_t child = start_child();
    if (child == 0) {
        free_inherited(blocks, 0, 2);
        grandchild_frees_the_rest(blocks);
        exit(0);
    }
    require_clean_exit(child, "the child");
    free_inherited(blocks, 0, 1);
}

/* --- spawning ----------------------------------------------------------------------- */

extern char **environ;

static void spawn_directly(void) {
    char *arguments[] = {"sh", "-c", "exit 7", NULL};
    pid_t child;
    int error = posix_spawn(&child, "/bin/sh", NULL, NULL, arguments, environ);
    require(error == 0, "posix_spawn gave %d", error);
    int status = child_status(child);
    require(WIFEXITED(status) && WEXITSTATUS(status) == 7, "posix_spawn: status %d", status);
}

static void spawn_through_stdio(void) {
    char word[16] = "";
    FILE *pipe = popen("echo spawned", "r");
    require(pipe && fgets(word, sizeof word, pipe), "popen gave no output");
    require(strcmp(word, "spawned\n") == 0, "popen gave other output");
    require(pclose(pipe) == 0, "pclose reports failure");
}

/* POSIX.1-2024 posix_spawn(), popen(), system(): they may use vfork, which
 * shares the parent's memory and skips the fork handlers. */
static void spawn_while_threads_allocate(void) {
    start_allocating_threads(2);
    for (unsigned i = 0; i < 4; i++) {
        spawn_directly();
        spawn_through_stdio();
        int status = system("exit 3");
        require(WIFEXITED(status) && WEXITSTATUS(status) == 3, "system: status %d", status);
    }
    stop_allocating_threads();
}

const struct check checks[] = {
    {"fork_mt", child_allocates_after_fork},
    {"fork_child_thread", child_starts_threads_after_fork},
    {"forkio", fork_while_stdio_is_busy},
    {"fork_nested_free", child_frees_inherited_blocks},
    {"spawn", spawn_while_threads_allocate},
    {NULL, NULL},
};

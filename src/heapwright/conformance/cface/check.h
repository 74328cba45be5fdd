/* The frame that every program of this suite shares.
 *
 * A program is a table of named checks.  Called with a name it runs that one
 * check and exits 0 (it holds), 1 (it does not, and one line on standard error
 * says why) or 77 (it cannot be tried here).  Called with --list it prints the
 * names.  One process per check, so that a corrupt heap spoils one answer only.
 *
 * The frame itself never allocates: it must be able to report about a heap
 * that is broken, exhausted or locked.
 */
#ifndef HEAPWRIGHT_CHECK_H
#define HEAPWRIGHT_CHECK_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/types.h>

#ifdef __cplusplus
extern "C" {
#endif

struct check {
    const char *name; /* a leading underscore marks a step, run by a check in a fresh process */
    void (*run)(void);
};

/* Each program defines this table; a null name ends it. */
extern const struct check checks[];

/* The library under test as given on the command line, or NULL for the C library. */
extern const char *checked_library;

enum {
    KIB = 1024,
    MIB = 1024 * KIB,
    PLENTY = 768 * MIB, /* what a check may hold before it calls memory short */
    CHECK_SECONDS = 25, /* a check that needs longer hangs */
    CHILD_SECONDS = 8,  /* the same for a child that a check forks */
};

/* --- verdicts ------------------------------------------------------------ */

void fail(const char *format, ...) __attribute__((noreturn, format(printf, 1, 2)));
void cannot_try(const char *format, ...) __attribute__((noreturn, format(printf, 1, 2)));
void remark(const char *format, ...) __attribute__((format(printf, 1, 2)));

#define require(condition, ...)                                                                    \
    do {                                                                                           \
        if (!(condition))                                                                          \
            fail(__VA_ARGS__);                                                                     \
    } while (0)

/* The call must return NULL with errno set to ENOMEM.  Where its arguments are
 * variables, the second form tells their values. */
#define require_refused(call) require_refused_as(call, "%s", #call)
#define require_refused_as(call, ...) (clear_errno(), judge_refusal((call), __VA_ARGS__))
void clear_errno(void);
void judge_refusal(void *block, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* --- values the compiler must not reason about --------------------------- */

static inline void *opaque(void *pointer) {
    void *volatile hidden = pointer;
    return hidden;
}

static inline size_t opaque_size(size_t size) {
    volatile size_t hidden = size;
    return hidden;
}

/* A block, or the end of the check: for calls that any heap must satisfy. */
void *must_malloc(size_t size);
void *must_malloc_aligned(size_t alignment, size_t size);

/* --- bytes --------------------------------------------------------------- */

void fill(void *block, size_t size, uint64_t seed);
bool intact(const void *block, size_t size, uint64_t seed);
bool all_zero(const void *block, size_t size);
bool is_aligned(const void *block, size_t alignment);
uint64_t next_random(uint64_t *state);

/* --- the process --------------------------------------------------------- */

size_t page_size(void);
size_t resident_bytes(void); /* physical memory in use, from /proc/self/statm */
size_t growth_since(size_t resident_before);
size_t virtual_bytes(void);  /* address space in use */
bool memory_is_plentiful(void); /* loops without end pause when it is not: a heap may never reuse */
void pause_microseconds(unsigned microseconds);
bool defined_by_checked_library(const char *symbol);

/* Path of a file that lies beside this program; `path` holds PATH_MAX bytes. */
void sibling(const char *name, char *path);

pid_t start_child(void);       /* fork; the child is bounded in time and dies with its parent */
int child_status(pid_t child); /* as of waitpid */
void require_clean_exit(pid_t child, const char *who);

/* Run `step` of this program in a fresh process; `prepare` runs just before the exec. */
void run_step(const char *step, void (*prepare)(void));

pthread_t start_thread(void *(*body)(void *), void *argument);
void join_thread(pthread_t thread);

/* --- torture.c: random work that verifies every byte it wrote ------------- */

void torture(uint64_t seed, unsigned operations);
void start_allocating_threads(unsigned count);
void stop_allocating_threads(void);

#ifdef __cplusplus
}
#endif

#endif

/* The life of a process: before main, after exit, without descriptors, under
 * signals, with tuning variables meant for another heap, and confined.
 */
#include "check.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

/* --- before main and after exit ---------------------------------------------------- */

enum { EARLY_BYTES = 5000 };

static void *early;
static bool judge_early;

/* Priority 101 is the first that programs may use: before most constructors. */
__attribute__((constructor(101))) static void allocate_before_main(void) {
    fill(early = must_malloc(EARLY_BYTES), EARLY_BYTES, 1);
}

__attribute__((destructor(101))) static void free_after_everything(void) {
    if (judge_early)
        require(intact(early, EARLY_BYTES, 1), "a block from before main was changed");
    free(early);
    free(must_malloc(EARLY_BYTES));
}

static void allocate_at_exit(void) { torture(8, 2000); }

static ssize_t allocate_at_flush(void *unused, const char *text, size_t size) {
    (void)unused;
    (void)text;
    torture(9, 2000);
    return (ssize_t)size;
}

/* exit flushes streams last, after the destructors of every library. */
static void flush_at_exit(void) {
    cookie_io_functions_t functions = {.write = allocate_at_flush};
    FILE *stream = fopencookie(NULL, "w", functions);
    require(stream && fputc('x', stream) == 'x', "a stream of our own cannot be opened");
}

/* C17 7.22.4.4: atexit functions and flushes may allocate, so a heap must never
 * take itself down. */
static void allocate_outside_main(void) {
    judge_early = true;
    require(atexit(allocate_at_exit) == 0, "atexit failed");
    flush_at_exit();
    torture(10, 2000);
}

/* --- descriptors --------------------------------------------------------------------- */

enum { LAST_STANDARD = STDERR_FILENO, CLOSED = 64, SEARCHED = 1024 };

static void close_first_descriptors(void) {
    for (int file = 0; file < CLOSED; file++)
        close(file);
}

static void close_all_but_standard(void) {
    for (int file = LAST_STANDARD + 1; file < SEARCHED; file++)
        close(file);
}

static void work_everywhere(void) {
    start_allocating_threads(2);
    torture(10, 10000);
    stop_allocating_threads();
}

/* Daemons start this way; a heap that opens a file, or reports to descriptor 2,
 * gets a number that the program believes to be its own. */
static void without_descriptors(void) { run_step("_closed_descriptors", close_first_descriptors); }

static void without_open_files(void) { run_step("_open_files", close_all_but_standard); }

static void require_only_standard_files(const char *when) {
    for (int file = LAST_STANDARD + 1; file < SEARCHED; file++)
        require(fcntl(file, F_GETFD) < 0, "descriptor %d is open %s", file, when);
}

static void look_for_open_files(void) {
    require_only_standard_files("at the start");
    work_everywhere();
    require_only_standard_files("after work");
}

/* --- signals --------------------------------------------------------------------------- */

static atomic_ulong signals_seen;

static void count_signal(int number) {
    (void)number;
    signals_seen++;
}

static void *send_signals(void *target) {
    while (pthread_kill(*(pthread_t *)target, SIGUSR1) == 0)
        pause_microseconds(20);
    return NULL;
}

static void catch_without_restart(int number) {
    struct sigaction action = {.sa_handler = count_signal}; /* no SA_RESTART: calls see EINTR */
    require(sigaction(number, &action, NULL) == 0, "sigaction failed: errno %d", errno);
}

/* POSIX.1-2024 malloc() has no [EINTR]: interrupted system calls are retried. */
static void work_under_signals(void) {
    pthread_t self = pthread_self();
    catch_without_restart(SIGUSR1);
    start_thread(send_signals, &self);
    for (unsigned round = 0; round < 200 && signals_seen < 3000; round++)
        torture(11 + round, 3000);
    if (signals_seen < 100)
        cannot_try("only %lu signals arrived", signals_seen);
}

/* --- variables that tune the C library's own heap -------------------------------------- */

static void set_foreign_variables(void) {
    setenv("GLIBC_TUNABLES", "glibc.malloc.tcache_count=0:glibc.malloc.arena_max=1", 1);
    setenv("MALLOC_ARENA_MAX", "1", 1);
    setenv("MALLOC_CHECK_", "3", 1);
    setenv("MALLOC_PERTURB_", "165", 1);
    setenv("MALLOC_MMAP_THRESHOLD_", "4096", 1);
    setenv("MALLOC_TOP_PAD_", "0", 1);
}

/* glibc manual, "Memory Allocation Tunables"; they are found set in the wild. */
static void foreign_variables_do_no_harm(void) {
    run_step("_foreign_variables", set_foreign_variables);
}

/* --- confinement ------------------------------------------------------------------------- */

/* What a heap may ask of the kernel, and what this program needs to end. */
static const int allowed_calls[] = {
    SYS_brk,   SYS_mmap,      SYS_munmap, SYS_mremap,     SYS_madvise,     SYS_mprotect, SYS_futex,
    SYS_write, SYS_getrandom, SYS_exit,   SYS_exit_group, SYS_rt_sigreturn,
};

enum { ALLOWED = sizeof allowed_calls / sizeof allowed_calls[0] };

static void report_forbidden_call(int number, siginfo_t *info, void *context) {
    (void)number;
    (void)context;
    fail("the heap made system call %d", info->si_syscall);
}

/* seccomp(2): load the number of the call, compare it with each allowed one, trap. */
static void confine(void) {
    struct sock_filter program[2 * ALLOWED + 2] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
    };
    for (unsigned i = 0; i < ALLOWED; i++) {
        struct sock_filter compare =
            BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (unsigned)allowed_calls[i], 0, 1);
        struct sock_filter allow = BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
        program[2 * i + 1] = compare;
        program[2 * i + 2] = allow;
    }
    struct sock_filter trap = BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_TRAP);
    program[2 * ALLOWED + 1] = trap;
    struct sock_fprog filter = {2 * ALLOWED + 2, program};
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 ||
        prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter) != 0)
        cannot_try("seccomp is not available");
}

/* Sandboxes allow what a heap documents.  Like them, this one closes after the
 * program has started. */
static void work_when_confined(void) {
    struct sigaction action = {.sa_sigaction = report_forbidden_call, .sa_flags = SA_SIGINFO};
    require(sigaction(SIGSYS, &action, NULL) == 0, "sigaction failed: errno %d", errno);
    torture(12, 1000);
    confine();
    torture(13, 20000);
    for (size_t size = 1000; size <= 64 * MIB; size *= 4)
        free(opaque(realloc(must_malloc(size), 2 * size)));
}

const struct check checks[] = {
    {"ctor_dtor", allocate_outside_main},
    {"closed_fds", without_descriptors},
    {"_closed_descriptors", work_everywhere},
    {"fd_leak", without_open_files},
    {"_open_files", look_for_open_files},
    {"eintr", work_under_signals},
    {"env", foreign_variables_do_no_harm},
    {"_foreign_variables", work_everywhere},
    {"seccomp", work_when_confined},
    {NULL, NULL},
};

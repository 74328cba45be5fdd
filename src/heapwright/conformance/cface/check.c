/* The frame declared in check.h: choosing a check, reporting, and the small tools. */
#include "check.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { HOLDS = 0, FAILS = 1, WRONG_USE = 2, CANNOT_TRY = 77, LOADER_FAILS = 127 };

const char *checked_library;

/* --- verdicts ------------------------------------------------------------ */

static void say(const char *format, va_list arguments) {
    char line[512];
    int length = vsnprintf(line, sizeof line - 1, format, arguments);
    if (length < 0)
        return;
    size_t used = (size_t)length < sizeof line - 1 ? (size_t)length : sizeof line - 2;
    line[used] = '\n';
    if (write(STDERR_FILENO, line, used + 1) < 0)
        return; /* nobody listens: the exit status still tells */
}

void fail(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    say(format, arguments);
    _exit(FAILS); /* no handlers: they would run on the heap that just failed */
}

void cannot_try(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    say(format, arguments);
    _exit(CANNOT_TRY);
}

void remark(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    say(format, arguments);
    va_end(arguments);
}

void clear_errno(void) { errno = 0; }

void judge_refusal(void *block, const char *format, ...) {
    int reported = errno;
    char call[128];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(call, sizeof call, format, arguments);
    va_end(arguments);
    require(!opaque(block), "%s returned a block", call);
    require(reported == ENOMEM, "%s set errno to %d, not ENOMEM", call, reported);
}

void *must_malloc(size_t size) {
    void *block = opaque(malloc(size));
    require(block, "malloc(%zu) returned NULL", size);
    return block;
}

void *must_malloc_aligned(size_t alignment, size_t size) {
    void *block = NULL;
    int error = posix_memalign(&block, alignment, size);
    require(error == 0, "posix_memalign(%zu, %zu) returned %d", alignment, size, error);
    return block;
}

/* --- bytes --------------------------------------------------------------- */

/* Depends on the position too, so that shifted content is noticed. */
static unsigned char pattern(uint64_t seed, size_t index) {
    return (unsigned char)(seed + index * 7 + (index >> 8));
}

void fill(void *block, size_t size, uint64_t seed) {
    unsigned char *bytes = (unsigned char *)block;
    for (size_t i = 0; i < size; i++)
        bytes[i] = pattern(seed, i);
}

bool intact(const void *block, size_t size, uint64_t seed) {
    const unsigned char *bytes = (const unsigned char *)block;
    for (size_t i = 0; i < size; i++)
        if (bytes[i] != pattern(seed, i))
            return false;
    return true;
}

bool all_zero(const void *block, size_t size) {
    const unsigned char *bytes = (const unsigned char *)block;
    for (size_t i = 0; i < size; i++)
        if (bytes[i] != 0)
            return false;
    return true;
}

bool is_aligned(const void *block, size_t alignment) { return (uintptr_t)block % alignment == 0; }

/* xorshift64 (Marsaglia, "Xorshift RNGs", 2003). */
uint64_t next_random(uint64_t *state) {
    uint64_t x = *state;
    x ^= x << 13;
    x ^= x >> 7;
    x ^= x << 17;
    return *state = x;
}

/* --- the process --------------------------------------------------------- */

size_t page_size(void) { return (size_t)sysconf(_SC_PAGESIZE); }

static void read_statm(unsigned long *virtual_pages, unsigned long *resident_pages) {
    char text[128] = "";
    int file = open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
    if (file < 0 || read(file, text, sizeof text - 1) <= 0)
        cannot_try("/proc/self/statm cannot be read");
    close(file);
    char *rest;
    *virtual_pages = strtoul(text, &rest, 10);
    *resident_pages = strtoul(rest, NULL, 10);
}

size_t resident_bytes(void) {
    unsigned long virtual_pages, resident_pages;
    read_statm(&virtual_pages, &resident_pages);
    return resident_pages * page_size();
}

size_t virtual_bytes(void) {
    unsigned long virtual_pages, resident_pages;
    read_statm(&virtual_pages, &resident_pages);
    return virtual_pages * page_size();
}

size_t growth_since(size_t before) {
    size_t now = resident_bytes();
    return now > before ? now - before : 0;
}

bool memory_is_plentiful(void) { return resident_bytes() < PLENTY; }

void pause_microseconds(unsigned microseconds) {
    struct timespec time = {microseconds / 1000000, (long)(microseconds % 1000000) * 1000};
    nanosleep(&time, NULL);
}

void sibling(const char *name, char *path) {
    ssize_t length = readlink("/proc/self/exe", path, PATH_MAX - 1);
    if (length < 0)
        cannot_try("/proc/self/exe cannot be read");
    path[length] = '\0';
    char *last = strrchr(path, '/') + 1;
    snprintf(last, (size_t)(path + PATH_MAX - last), "%s", name);
}

static bool same_file(const char *left, const char *right) {
    struct stat a, b;
    return stat(left, &a) == 0 && stat(right, &b) == 0 && a.st_ino == b.st_ino &&
           a.st_dev == b.st_dev;
}

bool defined_by_checked_library(const char *symbol) {
    Dl_info where;
    void *address = dlsym(RTLD_DEFAULT, symbol);
    return checked_library && address && dladdr(address, &where) &&
           same_file(where.dli_fname, checked_library);
}

pid_t start_child(void) {
    pid_t child = fork();
    require(child >= 0, "fork failed: errno %d", errno);
    if (child == 0) {
        alarm(CHILD_SECONDS); /* an alarm is not inherited across fork */
        prctl(PR_SET_PDEATHSIG, SIGKILL);
    }
    return child;
}

int child_status(pid_t child) {
    int status;
    while (waitpid(child, &status, 0) < 0)
        require(errno == EINTR, "waitpid failed: errno %d", errno);
    return status;
}

void require_clean_exit(pid_t child, const char *who) {
    int status = child_status(child);
    if (WIFSIGNALED(status) && WTERMSIG(status) == SIGALRM)
        fail("%s hung", who);
    require(!WIFSIGNALED(status), "%s was killed by signal %d", who, WTERMSIG(status));
    if (WEXITSTATUS(status) == CANNOT_TRY || WEXITSTATUS(status) == FAILS)
        _exit(WEXITSTATUS(status)); /* the child has said why */
    if (WEXITSTATUS(status) == LOADER_FAILS)
        _exit(FAILS); /* and so has the loader */
    require(WEXITSTATUS(status) == 0, "%s exited with status %d", who, WEXITSTATUS(status));
}

void run_step(const char *step, void (*prepare)(void)) {
    pid_t child = start_child();
    if (child == 0) {
        if (prepare)
            prepare();
        execl("/proc/self/exe", "check", step, checked_library, (char *)NULL);
        _exit(CANNOT_TRY);
    }
    require_clean_exit(child, step + 1);
}

pthread_t start_thread(void *(*body)(void *), void *argument) {
    pthread_t thread;
    int error = pthread_create(&thread, NULL, body, argument);
    require(error == 0, "pthread_create failed with %d", error);
    return thread;
}

void join_thread(pthread_t thread) {
    int error = pthread_join(thread, NULL);
    require(error == 0, "pthread_join failed with %d", error);
}

/* --- choosing a check ----------------------------------------------------- */

static int list_checks(void) {
    for (const struct check *each = checks; each->name; each++)
        if (each->name[0] != '_')
            puts(each->name);
    return HOLDS;
}

static const struct check *find_check(const char *name) {
    const struct check *each = checks;
    while (each->name && strcmp(each->name, name) != 0)
        each++;
    return each;
}

/* If a check eats all memory, it and nothing else shall be the kernel's victim. */
static void volunteer_as_victim(void) {
    int file = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
    if (file < 0)
        return;
    if (write(file, "1000", 4) < 0)
        remark("oom_score_adj cannot be set");
    close(file);
}

static void bound_this_process(void) {
    alarm(CHECK_SECONDS);
    volunteer_as_victim();
    /* Huge pages would make resident sizes depend on the system's settings. */
    prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0);
}

/* ld.so only warns when it cannot preload; the C library would be judged instead. */
static void require_preloaded(void) {
    if (checked_library && getenv("LD_PRELOAD"))
        require(defined_by_checked_library("malloc"), "malloc is not the library's own");
}

int main(int argc, char **argv) {
    if (argc < 2 || strcmp(argv[1], "--list") == 0)
        return list_checks();
    const struct check *chosen = find_check(argv[1]);
    if (!chosen->name) {
        remark("no check is called %s", argv[1]);
        return WRONG_USE;
    }
    checked_library = argc > 2 ? argv[2] : NULL;
    bound_this_process();
    require_preloaded();
    chosen->run();
    return HOLDS;
}

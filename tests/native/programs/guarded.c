/* guarded SIZE STEP...: allocates a block, prints its address, and takes each step:

   read:N write:N free:N   at N bytes from the block's start
   realloc:N calloc:N      a new block instead; the old one is freed by realloc, or forgotten
   pass:N                  hands N bytes of the block to write(2), and prints what came of it
   info plain once signal  sets a handler of SIGSEGV: with siginfo, without, for one fault only, by signal(); it exits
   jump                    the same, and it leaves by siglongjmp to the next step
   ignore default          ignores SIGSEGV, or no longer handles it
   kept                    prints which handler sigaction and signal say there is
   own raise               a fault on a page of the program's own; a signal that is sent
   thread fork             takes the further steps in a thread, or in a child, whose end is then the program's

   A handler prints the address of the fault and exits with 42. */
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

static volatile char *block;
static char **steps;
static sigjmp_buf back;
static volatile int may_jump, is_once, seen;

static void tell(const char *what, void *address) {
    char line[100];
    int length = snprintf(line, sizeof line, "%s %p\n", what, address);
    if (write(1, line, length) != length) _exit(3);
}

static void leave(void) {
    if (may_jump) siglongjmp(back, 1);
    _exit(42);
}

static void with_info(int number, siginfo_t *info, void *context) {
    sigset_t blocked;
    sigprocmask(SIG_SETMASK, 0, &blocked);
    tell(number == SIGSEGV && context ? "handler" : "wrong", info->si_addr);
    if (!sigismember(&blocked, SIGSEGV) || !sigismember(&blocked, SIGUSR1)) tell("mask", 0);
    leave();
}

static void without_info(int number) {
    tell(number == SIGSEGV ? "handler" : "wrong", 0);
    if (seen++) _exit(43); /* SA_RESETHAND: it returns once, and must not come again */
    if (is_once) return;
    leave();
}

static void handle(const char *how) {
    struct sigaction action = {.sa_handler = without_info};
    if (*how == 'i' || *how == 'j') {
        action.sa_sigaction = with_info;
        action.sa_flags = SA_SIGINFO;
        sigaddset(&action.sa_mask, SIGUSR1);
    }
    is_once = *how == 'o';
    if (is_once) action.sa_flags = SA_RESETHAND;
    may_jump = *how == 'j';
    if (sigaction(SIGSEGV, &action, 0)) _exit(4);
}

static void tell_handler(void) {
    struct sigaction action;
    if (sigaction(SIGSEGV, 0, &action)) _exit(5);
    void (*before)(int) = signal(SIGSEGV, SIG_DFL);
    signal(SIGSEGV, before);
    const char *name = before == SIG_DFL ? "default" : before == SIG_IGN ? "ignore"
                     : before == without_info ? "plain" : before == (void *)with_info ? "info" : "another";
    printf("kept %s %s\n", name, action.sa_handler == before ? "twice" : "differs");
    fflush(stdout);
}

static void follow(void);

static void *in_a_thread(void *unused) {
    follow();
    return unused;
}

static void take(const char *step) {
    const char *colon = strchr(step, ':');
    long n = colon ? atol(colon + 1) : 0;
    size_t length = colon ? (size_t)(colon - step) : strlen(step);
#define IS(name) (length == strlen(name) && !strncmp(step, name, length))
    if (IS("read")) printf("read %d\n", block[n]);
    else if (IS("write")) block[n] = 1;
    else if (IS("free")) free((char *)block + n);
    else if (IS("realloc")) tell("block", (void *)(block = realloc((char *)block, n)));
    else if (IS("calloc")) tell("block", (void *)(block = calloc(1, n)));
    else if (IS("pass")) {
        int pipes[2];
        if (pipe(pipes)) _exit(6);
        printf("pass %s\n", write(pipes[1], (char *)block, n) < 0 ? strerrorname_np(errno) : "done");
        fflush(stdout);
    } else if (IS("signal")) signal(SIGSEGV, without_info);
    else if (IS("ignore")) signal(SIGSEGV, SIG_IGN);
    else if (IS("default")) signal(SIGSEGV, SIG_DFL);
    else if (IS("kept")) tell_handler();
    else if (IS("own")) *(volatile char *)mmap(0, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) = 1;
    else if (IS("raise")) raise(SIGSEGV);
    else handle(step);
#undef IS
}

static void follow(void) {
    while (*steps) {
        const char *step = *steps++;
        if (!strcmp(step, "thread")) {
            pthread_t thread;
            pthread_create(&thread, 0, in_a_thread, 0);
            pthread_join(thread, 0);
        } else if (!strcmp(step, "fork")) {
            int status;
            pid_t child = fork();
            if (child) {
                waitpid(child, &status, 0);
                if (WIFSIGNALED(status)) {
                    signal(WTERMSIG(status), SIG_DFL);
                    kill(getpid(), WTERMSIG(status));
                }
                _exit(WEXITSTATUS(status));
            }
        } else if (!may_jump || !sigsetjmp(back, 1)) take(step);
    }
}

int main(int argc, char **argv) {
    if (argc < 3) return 1;
    block = malloc(atol(argv[1]));
    tell("block", (void *)block);
    steps = argv + 2;
    follow();
    return 0;
}

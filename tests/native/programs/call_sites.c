/* Asks for blocks from all kinds of stacks. Each block's size says from which: see tests/native/test_call_sites.py. */
#define _GNU_SOURCE
#include <alloca.h>
#include <dlfcn.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <ucontext.h>
#include <unistd.h>

#define APART __attribute__((noinline, noclone))

enum size {
    PLAIN = 1000001, DYNAMIC, REALIGNED, RECURSIVE, IN_HANDLER, ON_SIGNAL_STACK, IN_THREAD, IN_COROUTINE, NO_TABLE,
    NO_TABLE_BAD_FRAME, JITTED, JITTED_BAD_FRAME, CHILD, AFTER_JUMP, IN_CRASH, FIRST_LIBRARY, SECOND_LIBRARY, SMASHED
};

static void *volatile kept;

APART void ask(size_t size) {
    kept = malloc(size);
    if (kept)
        *(volatile char *)kept = 1;
}

APART void plain(void) { ask(PLAIN); __asm__ volatile(""); }

APART void dynamic(int n) {
    char *room = alloca(n);
    memset(room, 0, n);
    __asm__ volatile("" ::"r"(room) : "memory");
    ask(DYNAMIC);
    __asm__ volatile("" ::"r"(room) : "memory");
}

APART void realigned(int n) {
    _Alignas(64) char aligned[64];
    char *room = alloca(n);
    __asm__ volatile("" ::"r"(room), "r"(aligned) : "memory");
    ask(REALIGNED);
    __asm__ volatile("" ::"r"(room), "r"(aligned) : "memory");
}

APART void recursive(int n) {
    if (n)
        recursive(n - 1);
    else
        ask(RECURSIVE);
    __asm__ volatile("");
}

static volatile enum size in_handler;

APART void handler(int signal) {
    (void)signal;
    ask(in_handler);
    __asm__ volatile("");
}

APART void signalled(enum size size, int flags) {
    struct sigaction action = {.sa_handler = handler, .sa_flags = flags};
    in_handler = size;
    sigaction(SIGUSR1, &action, NULL);
    raise(SIGUSR1);
    __asm__ volatile("");
}

static void *thread(void *unused) {
    ask(IN_THREAD);
    return unused;
}

static ucontext_t back, there;

APART void coroutine(void) {
    ask(IN_COROUTINE);
    __asm__ volatile("");
}

static void with_coroutine(void) {
    size_t size = 1 << 16;
    getcontext(&there);
    there.uc_stack.ss_sp = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    there.uc_stack.ss_size = size;
    there.uc_link = &back;
    makecontext(&there, coroutine, 0);
    swapcontext(&back, &there);
}

/* A function without unwind information: with the frame pointer of the caller, and with another in its place. */
__asm__(".text\n.globl bare\n.type bare, @function\nbare:\n"
        "push %rbp\nmov %rsp, %rbp\nsub $16, %rsp\ncall ask\nleave\nret\n.size bare, .-bare\n"
        ".globl bare_bad\n.type bare_bad, @function\nbare_bad:\n"
        "push %rbp\nmov %rsi, %rbp\ncall ask\npop %rbp\nret\n.size bare_bad, .-bare_bad\n");
void bare(size_t size);
void bare_bad(size_t size, uintptr_t frame);

APART void calls_bare(void) { bare(NO_TABLE); __asm__ volatile(""); }

APART void calls_bad(uintptr_t frame) { bare_bad(NO_TABLE_BAD_FRAME, frame); __asm__ volatile(""); }

static void with_bad_frames(void) {
    char *page = mmap(NULL, 1 << 13, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    uintptr_t here = (uintptr_t)__builtin_frame_address(0);
    uintptr_t frames[] = {0, 8, 4096, (uintptr_t)page, (uintptr_t)page + 4088, here - 4096, here + 1, here + (1 << 30),
                          ~(uintptr_t)7, (uintptr_t)1 << 63, (uintptr_t)&kept};
    for (size_t i = 0; i < sizeof frames / sizeof *frames; i++)
        calls_bad(frames[i]);
}

/* The same as `bare` and `bare_bad`, in memory that no module has. */
APART void jitted(void) {
    static const unsigned char code[] = {0x55, 0x48, 0x89, 0xe5, 0xff, 0xd6, 0x5d, 0xc3}; /* push, mov, call *%rsi */
    static const unsigned char bad[] = {0x55, 0x48, 0x89, 0xd5, 0xff, 0xd6, 0x5d, 0xc3};  /* mov %rdx, %rbp */
    char *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    memcpy(page, code, sizeof code);
    memcpy(page + 64, bad, sizeof bad);
    ((void (*)(size_t, void (*)(size_t)))(uintptr_t)page)(JITTED, ask);
    ((void (*)(size_t, void (*)(size_t), long))(uintptr_t)(page + 64))(JITTED_BAD_FRAME, ask, 16);
}

static sigjmp_buf before;

static void jump(int signal) {
    ask(IN_CRASH);
    siglongjmp(before, signal);
}

APART void crash(void) { *(volatile int *)8 = 1; }

APART void after_jump(void) { ask(AFTER_JUMP); __asm__ volatile(""); }

APART void survive(void) {
    signal(SIGSEGV, jump);
    if (!sigsetjmp(before, 1))
        crash();
    signal(SIGSEGV, SIG_DFL);
    after_jump();
}

/* Overwrite all return addresses above this function's own, for a while. */
APART void smash(void) {
    volatile uintptr_t *words = __builtin_frame_address(0);
    uintptr_t saved[32];
    for (int i = 0; i < 32; i++) {
        saved[i] = words[2 + i];
        words[2 + i] = (uintptr_t)(words + 2 + 3 * i % 7);
    }
    ask(SMASHED);
    for (int i = 0; i < 32; i++)
        words[2 + i] = saved[i];
}

APART void child(void) {
    ask(CHILD);
    crash();
}

static void with_library(const char *path, const char *name, size_t size) {
    void *library = dlopen(path, RTLD_NOW);
    ((void (*)(size_t))(uintptr_t)dlsym(library, name))(size);
    dlclose(library);
}

int main(int argc, char **argv) {
    pthread_t id;
    static char stack[1 << 16];
    stack_t other = {.ss_sp = stack, .ss_size = sizeof stack};
    plain();
    dynamic(100);
    realigned(100);
    recursive(100);
    signalled(IN_HANDLER, 0);
    sigaltstack(&other, NULL);
    signalled(ON_SIGNAL_STACK, SA_ONSTACK);
    pthread_create(&id, NULL, thread, NULL);
    pthread_join(id, NULL);
    with_coroutine();
    calls_bare();
    with_bad_frames();
    jitted();
    survive();
    smash();
    for (int i = 0; argc == 3 && i < 3; i++) {
        with_library(argv[1], "first", FIRST_LIBRARY);
        with_library(argv[2], "other", SECOND_LIBRARY);
    }
    if (fork() == 0)
        child();
    wait(NULL);
    plain();
    return 42;
}

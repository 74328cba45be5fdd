/* The system calls of a submission. It may read files, take memory of its own and print; it may not make processes or
   threads, talk to anybody, or share memory. A refused call returns EPERM. The filter is installed before the
   submission is loaded, so it holds for constructors, too. */

#define _GNU_SOURCE
#include "driver.h"

#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#define FIELD(name) BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, name))
#define ANSWER(how) BPF_STMT(BPF_RET | BPF_K, how)
#define REFUSED (SECCOMP_RET_ERRNO | 1) /* EPERM */
#define ALLOW(name) BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_##name, 0, 1), ANSWER(SECCOMP_RET_ALLOW)

static struct sock_filter program[] = {
    FIELD(arch),
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, AUDIT_ARCH_X86_64, 1, 0),
    ANSWER(SECCOMP_RET_KILL_PROCESS),
    FIELD(nr),
    ALLOW(read), ALLOW(write), ALLOW(writev), ALLOW(close), ALLOW(fstat), ALLOW(lseek), ALLOW(pread64),
    ALLOW(openat), ALLOW(newfstatat), ALLOW(brk), ALLOW(mprotect), ALLOW(munmap), ALLOW(mremap), ALLOW(madvise),
    ALLOW(rt_sigaction), ALLOW(rt_sigprocmask), ALLOW(rt_sigreturn), ALLOW(getpid), ALLOW(gettid), ALLOW(tgkill),
    ALLOW(futex), ALLOW(getrandom), ALLOW(clock_gettime), ALLOW(clock_nanosleep), ALLOW(nanosleep),
    ALLOW(sched_yield), ALLOW(exit), ALLOW(exit_group),
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_mmap, 1, 0),
    ANSWER(REFUSED),
    FIELD(args[3]), /* the flags: memory shared with nobody is counted as the heap's */
    BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, MAP_SHARED, 0, 1),
    ANSWER(REFUSED),
    ANSWER(SECCOMP_RET_ALLOW),
};

int filter_system_calls(void) {
  struct sock_fprog whole = {sizeof program / sizeof *program, program};
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) return -1;
  return prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &whole, 0, 0);
}

"""Constants of Linux's interface on x86-64. The comments give C's names; ours say what the constants are for."""

from __future__ import annotations

PAGE = 4096
MAX_PATH = 4096  # PATH_MAX

# mmap, mremap, madvise
NO_ACCESS, READ_WRITE = 0, 3  # PROT_NONE; PROT_READ | PROT_WRITE
SHARED, PRIVATE, ANONYMOUS = 1, 2, 0x20
NO_RESERVE, POPULATE, FIXED_NO_REPLACE = 0x4000, 0x8000, 0x100000
FIXED = 0x10
PRIVATE_ANONYMOUS, SHARED_ANONYMOUS = PRIVATE | ANONYMOUS, SHARED | ANONYMOUS
MAY_MOVE, MOVE_TO = 1, 3  # MREMAP_MAYMOVE; and MREMAP_FIXED
DONT_NEED, REMOVE = 4, 9

# open
OPEN_TO_READ, OPEN_TO_WRITE = 0, 2  # O_RDONLY, O_RDWR
OPEN_TO_APPEND = 0x441  # O_WRONLY | O_CREAT | O_APPEND
CLOSE_ON_EXEC = 0x80000
OWNERS_ALONE = 0o600

# system calls without a plain function in the C library, or whose function is a cancellation point
READ, WRITE, CLOSE, OPEN_AT, READ_LINK_AT, GETRANDOM = 0, 1, 3, 257, 267, 318
REMAP = 25  # mremap, with the address to move to
PRCTL, SET_SECCOMP, STRICT = 157, 22, 1  # prctl: PR_SET_SECCOMP, SECCOMP_MODE_STRICT
SET_NAME = 15  # prctl: PR_SET_NAME
SIGACTION, SIGPROCMASK = 13, 14  # rt_sigaction, rt_sigprocmask
REPLACE_MASK = 2  # SIG_SETMASK
STATUS, REWIND, GET_FOLDER = 5, 8, 217  # fstat, lseek (to SEEK_SET), getdents64
THREAD_ID, SIGNAL_THREAD = 186, 234  # gettid, tgkill
HERE = -100  # AT_FDCWD: relative paths start at the current directory
NO_WAIT = 1  # GRND_NONBLOCK

DATA_SIZE, ADDRESS_SPACE = 2, 9  # getrlimit: RLIMIT_DATA, RLIMIT_AS

# futex
FUTEX, FUTEX_WAIT, FUTEX_WAKE = 202, 128, 129  # the system call; both on private words
ALL = 0x7FFF_FFFF  # sleepers

# signals
ABORTED, SEGMENT, URGENT = 6, 11, 23  # SIGABRT, SIGSEGV, SIGURG
DEFAULT_ACTION, IGNORE = 0, 1  # SIG_DFL, SIG_IGN
WITH_INFO, ON_STACK, RESTART = 4, 0x08000000, 0x10000000  # SA_SIGINFO, SA_ONSTACK, SA_RESTART: a handler's flags
NOT_BLOCKED, ONCE = 0x40000000, 0x80000000  # SA_NODEFER, SA_RESETHAND

# clock_gettime
REAL_TIME, STEADY, CPU_TIME = 0, 1, 2  # since 1970; since the machine started; of all threads of the process

ENOMEM, EFAULT, EEXIST = 12, 14, 17  # errno

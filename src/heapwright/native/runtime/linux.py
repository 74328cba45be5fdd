"""The numbers of Linux's interface on x86-64; C's headers have names for them, ours say what they are for."""

from __future__ import annotations

PAGE = 4096
MOST_PATH = 4096  # PATH_MAX

# mmap, mremap, madvise
READ_WRITE = 3  # PROT_READ | PROT_WRITE
SHARED, PRIVATE, ANONYMOUS = 1, 2, 0x20
NO_RESERVE, POPULATE, FIXED_NO_REPLACE = 0x4000, 0x8000, 0x100000
PRIVATE_ANONYMOUS = PRIVATE | ANONYMOUS
MAY_MOVE = 1
DONT_NEED = 4

# open
OPEN_TO_READ, OPEN_TO_WRITE = 0, 2  # the second reads too
OPEN_NEW = 0xC2  # O_RDWR | O_CREAT | O_EXCL
OPEN_TO_APPEND = 0x441  # O_WRONLY | O_CREAT | O_APPEND
OWNERS_ALONE = 0o600

# futex
FUTEX, FUTEX_WAIT, FUTEX_WAKE = 202, 128, 129  # the system call; both on private words

# clock_gettime
REAL_TIME, STEADY, CPU_TIME = 0, 1, 2  # since 1970; since the machine began; of all the process's threads

EEXIST = 17  # errno

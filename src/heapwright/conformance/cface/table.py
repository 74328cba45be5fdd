"""The checks of the C face: the requirement of each, and the standard or manual that states it.

A check is one function in one of the C or C++ files of this folder, called by
its identifier.  Row numbers group related checks; they are stable, so reports
may use them.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Check:
    """One property of a malloc library, tested by one run of one program."""

    row: int
    id: str
    program: str
    basis: str
    requirement: str
    informational: bool = False
    """Reported, but a library that fails it is not wrong."""


_Row = tuple[int, str, str, str]
"""Row number, identifier, basis, requirement."""

_SIZES: tuple[_Row, ...] = (
    (1, "malloc0", "man malloc(3)", "two malloc(0) give distinct blocks that free accepts"),
    (2, "free_null", "C17 7.22.3.3; POSIX.1-2024", "free(NULL) does nothing and keeps errno"),
    (3, "align16_all", "C17 7.22.3", "blocks of 1 to 5000 bytes are aligned for max_align_t"),
    (4, "align_weak", "C23 7.24.3", "blocks are aligned for any object that fits into them"),
    (5, "malloc_sizemax", "POSIX.1-2024", "malloc(SIZE_MAX) is refused with ENOMEM"),
    (6, "malloc_ptrdiff", "glibc 2.30 NEWS", "sizes above PTRDIFF_MAX are refused with ENOMEM"),
    (7, "malloc_near_max", "glibc BZ 22343, BZ 22375", "adding and rounding to a size never wraps"),
    (8, "malloc_ptrdiff_minus", "POSIX.1-2024", "the error for PTRDIFF_MAX - 64 is ENOMEM"),
    (9, "calloc_ovf", "C17 7.22.3.2; POSIX.1-2024", "a product that overflows is refused"),
    (10, "calloc_big", "POSIX.1-2024", "calloc beyond PTRDIFF_MAX is refused with ENOMEM"),
    (12, "calloc0", "man calloc(3)", "calloc of no bytes gives distinct blocks"),
)

_REALLOC: tuple[_Row, ...] = (
    (13, "realloc_null", "C17 7.22.3.5", "realloc(NULL, n) is malloc(n), for 0 too"),
    (14, "realloc_zero", "C23 7.24.3.7", "which convention realloc(p, 0) follows"),
    (15, "realloc_zero_leak", "practice", "100 000 realloc(p, 0) leak nothing"),
    (16, "realloc_content", "C17 7.22.3.5", "400 random resizes keep the common prefix"),
    (17, "realloc_fail_keep", "C17 7.22.3.5; POSIX.1-2024", "a refused realloc keeps the block"),
    (18, "reallocarray", "POSIX.1-2024", "an overflowing product is refused, the block kept"),
    (24, "pm_realloc", "C17 7.22.3.5; POSIX.1-2024", "an aligned block can be resized"),
    (55, "realloc_large", "C17 7.22.3.5", "40 MiB to 80 MiB to 100 kB keeps the content"),
)

_ALIGNED: tuple[_Row, ...] = (
    (19, "pm_einval", "POSIX.1-2024", "posix_memalign rejects bad alignments with EINVAL"),
    (20, "pm_enomem", "POSIX.1-2024", "posix_memalign refuses huge sizes with ENOMEM"),
    (21, "pm_errno", "man posix_memalign(3)", "posix_memalign leaves errno alone when it fails"),
    (22, "pm_aligned", "POSIX.1-2024", "blocks aligned to 8 B ... 4 MiB are aligned and private"),
    (23, "pm_size0", "POSIX.1-2024", "posix_memalign of no bytes is aligned and can be freed"),
    (25, "pm_hugealign", "POSIX.1-2024", "alignments up to 1 GiB work, or give ENOMEM"),
    (26, "aa_basic", "C17 7.22.3.1", "aligned_alloc aligns to 1 B ... 64 KiB"),
    (27, "aa_nonmultiple", "C17 DR 460", "aligned_alloc takes sizes that are not a multiple"),
    (28, "aa_badalign", "glibc 2.38", "aligned_alloc rejects a bad alignment: EINVAL"),
    (29, "memalign_odd", "glibc manual; BZ 22343", "memalign survives odd alignments and sizes"),
    (30, "valloc", "man valloc(3)", "valloc and pvalloc give whole pages that free accepts"),
    (31, "pvalloc_ovf", "POSIX.1-2024", "pvalloc and valloc never wrap a size to a small block"),
)

_CONTENTS: tuple[_Row, ...] = (
    (11, "calloc_zero_dirty", "C17 7.22.3.2", "calloc zeroes memory that was used before"),
    (32, "usable", "man malloc_usable_size(3)", "all usable bytes belong to their block alone"),
    (33, "size_monotone", "quality", "the usable size is at most twice the request and 4096"),
    (34, "free_errno", "POSIX.1-2024", "free keeps errno, for 20 B ... 40 MB"),
    (35, "ok_errno", "quality", "calls that succeed leave errno alone"),
    (36, "torture1", "C17 7.22.3", "60 000 random operations keep every byte"),
    (54, "large_virtual", "C17 7.22.3", "a block crosses 2 GiB and 4 GiB and keeps its ends"),
)

_THREADS: tuple[_Row, ...] = (
    (37, "torture_mt", "C17 7.22.3", "random operations of 8 threads keep every byte"),
    (38, "xthread_bound", "practice", "3 000 000 blocks freed by another thread are reused"),
    (39, "thread_churn", "practice", "3000 threads leave less than 32 MiB behind"),
    (40, "tls_dtor", "POSIX.1-2024", "destructors of thread-specific data may allocate"),
    (48, "small_stack", "POSIX.1-2024", "a thread with the smallest stack may allocate"),
    (58, "exit_race", "C17 7.22.4.4", "exit works while other threads allocate"),
    (65, "cancel", "POSIX.1-2024 2.9.5.2", "an allocating thread can be cancelled safely"),
)

_FORKS: tuple[_Row, ...] = (
    (41, "fork_mt", "practice", "children of a threaded process can allocate"),
    (42, "fork_child_thread", "practice", "children of a threaded process can start threads"),
    (43, "forkio", "glibc BZ 19431", "fork, fflush(NULL) and getline never deadlock"),
    (44, "fork_nested_free", "POSIX.1-2024", "children and grandchildren free inherited blocks"),
    (45, "spawn", "POSIX.1-2024", "posix_spawn, popen and system work beside busy threads"),
)

_LIMITS: tuple[_Row, ...] = (
    (46, "oom_rlimit", "POSIX.1-2024", "exhaustion gives ENOMEM, and freeing ends it"),
    (47, "oom_thread", "POSIX.1-2024", "threads that start near exhaustion do not crash"),
    (49, "sbrk_coexist", "man sbrk(2)", "memory from the program's own sbrk is never used"),
    (50, "brk_limited", "man brk(2)", "the heap grows on when the break cannot move"),
    (56, "many_maps", "Linux vm.max_map_count", "70 000 blocks of 264 KiB, or NULL and go on"),
    (57, "rss_return", "quality", "half of 236 MB goes back after free and malloc_trim"),
)

_LIBC: tuple[_Row, ...] = (
    (51, "glibc_fns", "glibc manual", "mallopt, mallinfo2, malloc_trim, malloc_info can be called"),
    (52, "mallinfo_live", "glibc manual", "mallinfo2 follows the live heap"),
    (53, "libc_helpers", "POSIX.1-2024", "memory from strdup, getline, scandir ... can be freed"),
)

_PROCESS: tuple[_Row, ...] = (
    (59, "ctor_dtor", "C17 7.22.4.4", "allocation works before main, in exit handlers and flushes"),
    (60, "closed_fds", "practice", "a process without descriptors can allocate"),
    (61, "fd_leak", "practice", "the heap keeps no descriptor open"),
    (64, "eintr", "POSIX.1-2024", "a storm of signals does not disturb the heap"),
    (71, "env", "glibc manual", "variables that tune glibc's heap do no harm"),
    (72, "seccomp", "seccomp(2)", "a heap makes memory, futex, write and getrandom calls only"),
)

_LOADER: tuple[_Row, ...] = (
    (62, "tls_dso", "glibc 2.39 NEWS", "thread-local storage of a late library works"),
    (63, "dlopen_churn", "POSIX.1-2024", "libraries come and go beside busy threads"),
    (68, "deepm", "man dlopen(3)", "a library opened with RTLD_DEEPBIND shares the heap"),
    (69, "aud", "man rtld-audit(7)", "the library loads and works under LD_AUDIT"),
    (70, "dlm", "man dlopen(3)", "the library can be loaded by a running program"),
)

_CXX: tuple[_Row, ...] = (
    (66, "cxx_bad_alloc", "C++17 21.6.2.1", "new of a huge size throws std::bad_alloc"),
    (66, "cxx_array_overflow", "C++17 8.3.4", "new[] of an overflowing size throws"),
    (66, "cxx_nothrow", "C++17 21.6.2.1", "nothrow new of a huge size returns null"),
    (66, "cxx_handler", "C++17 21.6.3.3", "new calls the new-handler until it gives up"),
    (66, "cxx_handler_nothrow", "C++17 21.6.3.3", "nothrow new calls the new-handler too"),
    (66, "cxx_handler_aligned", "C++17 21.6.3.3", "aligned new calls the new-handler too"),
    (66, "cxx_aligned_new", "C++17 21.6.2.1", "aligned new aligns; every aligned delete frees"),
    (66, "cxx_sized_delete", "C++17 21.6.2.1", "delete with the right size frees"),
    (66, "cxx_new_zero", "C++17 6.7.4.1", "two new(0) are distinct"),
    (66, "cxx_thread_local", "C++17 6.6.4", "thread_local containers are destroyed"),
    (66, "cxx_static_map", "C++17 6.6.4", "static containers are destroyed at exit"),
)

_PROGRAMS: dict[str, tuple[_Row, ...]] = {
    "sizes": _SIZES,
    "realloc": _REALLOC,
    "aligned": _ALIGNED,
    "contents": _CONTENTS,
    "threads": _THREADS,
    "forks": _FORKS,
    "limits": _LIMITS,
    "libc": _LIBC,
    "process": _PROCESS,
    "loader": _LOADER,
    "cxx": _CXX,
}

_INFORMATIONAL = frozenset({"realloc_zero", "pm_errno", "size_monotone", "ok_errno", "rss_return"})

_C_SYMBOLS = (
    *("malloc", "free", "calloc", "realloc", "reallocarray", "memalign", "aligned_alloc"),
    *("posix_memalign", "valloc", "pvalloc", "malloc_usable_size", "cfree", "free_sized"),
    *("free_aligned_sized", "mallopt", "mallinfo", "mallinfo2", "malloc_trim", "malloc_info"),
    *("malloc_stats", "__libc_memalign", "__libc_malloc"),
)

_CXX_SYMBOLS = ("_Znwm", "_ZdlPv", "_Znam", "_ZdaPv")
"""new, delete, new[], delete[]: libstdc++'s own, which call malloc and free, are correct too."""


def _symbol_checks() -> list[Check]:
    basis = "glibc manual, Replacing malloc; C23"
    return [
        Check(67, f"sym_{name}", "symbols", basis, f"the library defines {name} itself", name in _CXX_SYMBOLS)
        for name in (*_C_SYMBOLS, *_CXX_SYMBOLS)
    ]


def checks() -> list[Check]:
    """Every check, in the order of the row numbers."""
    found = [
        Check(row, name, program, basis, requirement, name in _INFORMATIONAL)
        for program, rows in _PROGRAMS.items()
        for row, name, basis, requirement in rows
    ]
    return sorted([*found, *_symbol_checks()], key=lambda check: check.row)

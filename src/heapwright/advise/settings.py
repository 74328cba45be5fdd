"""What mallocs let the environment set, as far as it changes time or memory: values to try, effect and risk.

A library that knows an option contains its name, so an installed release is offered only what it knows.

Sources: man-pages mallopt(3); glibc manual, "Memory Allocation Tunables"; jemalloc 5.3 jemalloc(3) and TUNING.md;
mimalloc 2.0.9 and 2.2, "Environment Options"; gperftools 2.10 docs/tcmalloc.html, "Modifying Runtime Behavior".
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

SYSTEM = "system"
LOADER = Path("/lib64/ld-linux-x86-64.so.2")  # has the names of glibc's tunables


class Option(NamedTuple):
    """An option of a malloc: the values worth trying, what a value does, and what to watch when it is set."""

    values: tuple[str, ...]
    effect: str
    risk: str
    needs_threads: bool = False


GLIBC = {
    "MALLOC_ARENA_MAX": Option(
        ("1", "2", "4"),
        "threads share arenas, so that what one thread freed serves another",
        "threads wait for each other inside malloc: compare the wall time under the real number of threads",
        needs_threads=True,
    ),
    "MALLOC_TRIM_THRESHOLD_": Option(
        ("65536", "131072", "1048576", "268435456"),
        "the free end of the heap goes back as soon as it is this long; the thresholds no longer adapt",
        "a program whose memory swings pays with system calls and page faults",
    ),
    "MALLOC_MMAP_THRESHOLD_": Option(
        ("32768", "65536", "131072", "1048576", "33554432"),
        "blocks of this size have a mapping each, which goes back when they are freed; the threshold no longer rises",
        "each such block costs two system calls and its page faults; a process has at most 65,530 mappings",
    ),
    "MALLOC_TOP_PAD_": Option(
        ("0", "131072", "1048576", "67108864"),
        "the heap grows and keeps this much beyond what is needed",
        "a small pad means more system calls, a large one more memory",
    ),
    "glibc.malloc.tcache_count": Option(
        ("0", "2", "16", "127"),
        "each thread caches so many freed blocks of each size",
        "a smaller cache makes malloc slower; a larger one keeps memory in each thread",
    ),
    "glibc.malloc.hugetlb": Option(
        ("1",),
        "malloc asks for transparent huge pages",
        "a page of 2 MiB is resident as a whole, so memory may grow; the system must permit huge pages",
    ),
}
JEMALLOC = {
    "dirty_decay_ms": Option(
        ("0", "1000", "5000", "30000"),
        "unused pages go back after this time instead of after 10 s",
        "a short time costs system calls and page faults when the memory is needed again",
    ),
    "muzzy_decay_ms": Option(
        ("0", "1000"),
        "pages that the kernel may take lazily are taken at once after this time",
        "as for dirty_decay_ms",
    ),
    "background_thread": Option(
        ("true",),
        "a thread of jemalloc's returns unused pages even while the program sleeps",
        "the process has a further thread, which a child made by fork lacks; programs that count threads notice",
    ),
    "narenas": Option(
        ("1", "2", "4"),
        "threads share arenas, so that what one thread freed serves another",
        "threads wait for each other inside malloc: compare the wall time under the real number of threads",
        needs_threads=True,
    ),
    "tcache": Option(
        ("false",),
        "threads keep no freed blocks",
        "every malloc and free takes a lock",
    ),
    "metadata_thp": Option(
        ("auto",),
        "jemalloc's own records may use huge pages",
        "they take somewhat more memory",
    ),
}
MIMALLOC = {
    "MIMALLOC_PURGE_DELAY": Option(
        ("0", "100", "1000"),
        "unused pages go back after so many milliseconds",
        "0 costs a system call for each page that becomes free",
    ),
    "MIMALLOC_DECOMMIT_DELAY": Option(
        ("0", "100", "1000"),
        "unused pages go back after so many milliseconds",
        "0 costs a system call for each page that becomes free",
    ),
    "MIMALLOC_EAGER_COMMIT": Option(
        ("0",),
        "memory is committed piece by piece",
        "more system calls while the heap grows",
    ),
    "MIMALLOC_ABANDONED_PAGE_DECOMMIT": Option(
        ("1",),
        "free pages of threads that ended go back at once",
        "the end of a thread takes longer",
        needs_threads=True,
    ),
    "MIMALLOC_ABANDONED_PAGE_PURGE": Option(
        ("1",),
        "free pages of threads that ended go back at once",
        "the end of a thread takes longer",
        needs_threads=True,
    ),
}
TCMALLOC = {
    "TCMALLOC_RELEASE_RATE": Option(
        ("10", "100"),
        "unused pages go back faster than at the rate of 1",
        "more system calls and page faults; pages go back only while the program frees blocks",
    ),
    "TCMALLOC_AGGRESSIVE_DECOMMIT": Option(
        ("1",),
        "every span of pages goes back as soon as it is free",
        "a program whose memory swings pays with system calls and page faults",
    ),
    "TCMALLOC_MAX_TOTAL_THREAD_CACHE_BYTES": Option(
        ("1048576", "8388608", "134217728"),
        "the caches of all threads together hold at most this much",
        "small caches make threads wait for the central lists",
    ),
}
OPTIONS: dict[str, dict[str, Option]] = {
    SYSTEM: GLIBC,
    "jemalloc": JEMALLOC,
    "mimalloc": MIMALLOC,
    "tcmalloc": TCMALLOC,
}
PRELOADED = (
    "LD_PRELOAD also reaches the programs that this one starts; static and setuid programs ignore it",
    "memory over days may differ from memory over minutes: watch the resident set after the first deployment",
)
FAMILY_RISKS = {
    "jemalloc": ("jemalloc returns pages as time passes, mostly when the program calls malloc or free",),
    "mimalloc": ("mimalloc returns pages only when a thread calls malloc or free: an idle program keeps them",),
    "tcmalloc": ("tcmalloc returns pages slowly and only when memory is freed; it never unmaps",),
    "ours": ("heapwright's allocators are tested, but no service has run on them for months",),
}


def environment_of(family: str, options: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    """The variables that set these options. GLIBC_TUNABLES and MALLOC_CONF hold several each."""
    if family == "jemalloc" and options:
        return (("MALLOC_CONF", ",".join(f"{name}:{value}" for name, value in options.items())),)
    tunables = [f"{name}={value}" for name, value in options.items() if "." in name]
    plain = tuple((name, value) for name, value in options.items() if "." not in name)
    return (*plain, ("GLIBC_TUNABLES", ":".join(tunables))) if tunables else plain


def known_options(family: str, library: Path | None) -> dict[str, Option]:
    """The options that the installed release of a malloc knows; `library` is None for glibc."""
    return {name: each for name, each in OPTIONS[family].items() if name in known_names(family, library)}


def known_names(family: str, library: Path | None) -> set[str]:
    file = library or LOADER
    data = file.read_bytes() if file.is_file() else b""
    return {name for name in OPTIONS[family] if is_variable_of_glibc(name) or spelled(name).encode() in data}


def is_variable_of_glibc(name: str) -> bool:
    """Whether every glibc reads this variable: the loader knows it under its tunable's name."""
    return name.startswith("MALLOC_")


def spelled(name: str) -> str:
    """An option's name as its library spells it: mimalloc has no prefix and small letters."""
    return name.removeprefix("MIMALLOC_").lower() if name.startswith("MIMALLOC_") else name


def risks_of(family: str, options: Iterable[str], is_preloaded: bool) -> list[str]:
    """What to watch after deploying a malloc with these options."""
    known = OPTIONS.get(family, {})
    named = [f"{name}: {known[name].risk}" for name in options if name in known]
    return [*named, *FAMILY_RISKS.get(family, ()), *(PRELOADED if is_preloaded else ())]

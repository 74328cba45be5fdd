"""What a program may do to ptmalloc's chunks, and what ptmalloc says of it: in the steps of `programs/story.c`.

A chunk of 2000 bytes is in no cache. Freed between two others it is unsorted, until a larger request sorts it into its
bin. Its head lies 8 bytes before the block and the size of a free chunk before it 16; its links are its first words.
"""

from __future__ import annotations

ROOM = 16  # chunks of a size that a cache takes
HUGE = 0x7FFFFFF1  # a head with more bytes than there are

CACHED = [f"s{i}=500" for i in range(ROOM + 1)] + [f"-s{i}" for i in range(ROOM)]  # and no room for more of the size

TAKEN = [f"t{i}=500" for i in range(ROOM + 1)]  # all of them, and one from the small bin
SEGMENTS = ["m=24", "thread", *[f"a{i}=120000" for i in range(562)], "fence=a0"]  # the last three in a second one


def apart(*names: str, size: int = 2000) -> list[str]:
    """Blocks with a small one behind each, so that no two of them merge."""
    return [step for name in names for step in (f"{name}={size}", f"{name}0=24")]


UNSORTED = [*apart("a"), *apart("b", size=2010), "c=2000", "-a"]
SORTED = [*UNSORTED, "d=5000"]

REPORTS: dict[str, dict[str, list[str]]] = {
    "invalid pointer": {
        "the inside of a block": ["a=2000", "-a+8"],
        "resized inside of a block": ["a=2000", "a+8~3000"],
        "the length of a mapping": ["a=300000", "a[-8]^=0x10", "-a"],
        "the start of a mapping": ["a=300000@4096", "a[-16]^=0x10", "-a"],
        "the start of a mapping, by pages": ["a=300000@4096", "a[-16]^=0x100000", "-a"],
        "the first words of a mapping": ["a=300000@4096", "a[-4088]=0", "-a"],
        "resized mapping": ["a=300000", "a[-8]^=0x10", "a~500000"],
    },
    "invalid size": {
        "too small": ["a=2000", "a[-8]=0x11", "-a"],
        "not a multiple of 16": ["a=2000", "a[-8]^=8", "-a"],
        "too large": ["a=2000", f"a[-8]={HUGE}", "-a"],
        "text, which says that it is of another arena": ["a=2000", "a[-8]=0x6174616474616465", "-a"],
        "negative": ["a=2000", "a[-8]=-15", "-a"],
        "resized too small": ["a=2000", "a[-8]=0x11", "a~3000"],
        "resized too large": ["a=2000", f"a[-8]={HUGE}", "a~9000"],
    },
    "double free": {
        "in the cache": ["a=100", "-a", "-a"],
        "in the cache of another thread": ["a=100", "-a", "thread", "-a"],
        "in a small bin": [*CACHED, "a=500", "b=24", "-a", "-a"],
        "in the top": ["a=2000", "-a", "-a"],
        "unsorted": [*apart("a"), "-a", "-a"],
        "sorted": [*SORTED, "-a"],
        "merged with the one before": [*apart("a"), "b=2000", "c=2000", "d=24", "-b", "-c", "-c"],
        "merged with the one behind": ["a=2000", "b=2000", "c=24", "-b", "-a", "-b"],
        "merged with the top, and that with others": ["a=2000", "b=2000", "c=2000", "-c", "-b", "-a", "-c"],
        "merged with the one behind, and both with the top": ["a=90000", "b=90000", "c=90000", "-b", "-a", "-c", "-b"],
        "merged with the top from behind": ["a=2000", "b=2000", "-a", "-b", "-b"],
    },
    "realloc of a free block": {
        "in the cache": ["a=100", "-a", "a~300"],
        "unsorted": [*apart("a"), "-a", "a~5000"],
        "in the top": ["a=2000", "-a", "a~5000"],
    },
    "corrupted size of a block": {
        "beyond the top": ["a=2000", "b=2000", "a[-8]=0x20001", "-a"],
        "into the top": ["a=2000", "b=2000", "a[-8]=0x2001", "-a"],
        "resized": ["a=2000", "b=2000", "a[-8]=0x2001", "a~9000"],
        "in another arena": ["m=24", "thread", "a=2000", "b=2000", "a[-8]=0x2005", "-a"],
    },
    "corrupted size behind a chunk": {
        "none": ["a=2000", "b=2000", "c=24", "b[-8]=1", "-a"],
        "too large": ["a=2000", "b=2000", "c=24", f"b[-8]={HUGE}", "-a"],
        "resized": ["a=2000", "b=2000", "c=24", "b[-8]=1", "a~3000"],
        "resized, too large": ["a=2000", "b=2000", "c=24", f"b[-8]={HUGE}", "a~3000"],
    },
    "corrupted size before a chunk": {
        "another size": [*apart("a"), "b=2000", "c=2000", "d=24", "-b", "c[-16]^=0x100", "-c"],
        "too large": [*apart("a"), "b=2000", "c=2000", "d=24", "-b", f"c[-16]={HUGE - 1}", "-c"],
        "beyond the heap": ["b=2000", "c=2000", "d=24", "-b", "c[-16]=0x8000", "-c"],
        "the chunk's own": [*apart("a"), "b=2000", "c=2000", "d=24", "-b", "b[-8]^=0x100", "-c"],
        "in another arena": ["m=24", "thread", "b=2000", "c=2000", "d=24", "-b", "c[-16]=0x8000", "-c"],
    },
    "corrupted size of a free chunk": {
        "at its end, when it merges": ["a=2000", "b=2000", "c=24", "-b", "c[-16]^=0x100", "-a"],
        "in its head, when it serves": [*SORTED, "a[-8]^=0x10", "e=2000"],
        "its arena": [*SORTED, "a[-8]^=4", "e=2000"],
        "at its end, in a small bin": [*CACHED, "b=24", "-s16", "b[-16]^=0x10", *TAKEN],
        "smaller than its bin": [*SORTED, "a[-8]=0x101", "e=1200"],
    },
    "corrupted size of an unsorted chunk": {
        "too small": [*UNSORTED, "a[-8]=0x11", "d=5000"],
        "too large": [*UNSORTED, f"a[-8]={HUGE}", "d=5000"],
    },
    "corrupted size behind an unsorted one": {
        "none": [*UNSORTED, "a0[-8]=0", "d=5000"],
        "too large": [*UNSORTED, f"a0[-8]={HUGE}", "d=5000"],
    },
    "corrupted end of an unsorted chunk": {"another size": [*UNSORTED, "a0[-16]^=0x100", "d=5000"]},
    "an unsorted chunk in use": {"the flag behind it": [*UNSORTED, "a0[-8]^=1", "d=5000"]},
    "corrupted list of unsorted chunks": {
        "forward": [*UNSORTED, "a[0]=c", "d=5000"],
        "back": [*UNSORTED, "a[8]=c", "d=5000"],
    },
    "corrupted list of free chunks": {
        "forward, when it merges": ["a=2000", "b=2000", "c=2000", "-b", "b[0]=c", "-a"],
        "back, when it merges": ["a=2000", "b=2000", "c=2000", "-b", "b[8]=c", "-a"],
        "of the first unsorted one": [*UNSORTED, "a[8]=c", "-b"],
        "of the first unsorted one, when a rest joins it": ["d=9000", *UNSORTED, "a[8]=c", "d~5000"],
        "of a small bin": [*CACHED, "b=24", "-s16", "s16[8]=b", *TAKEN],
        "of the first in a small bin": [*apart("d", size=500), *CACHED, "b=24", "-s16", "s16[8]=b", "-d"],
        "of a large bin": [*SORTED, "a[8]=c", "e=2000"],
        "of a large bin, when another comes first": [*SORTED, "-b", "a[8]=c", "e=5000"],
    },
    "corrupted list of sizes": {
        "smaller, when it serves": [*SORTED, "a[16]=c", "e=2000"],
        "larger, when it serves": [*SORTED, "-b", "e=5000", "a[24]=a+-16", "e=2000"],
        "when a smaller one comes": [
            *apart("a"), *apart("b", size=1980), "c=2000", "-a", "d=5000", "-b", "a[24]=c", "e=5000",
        ],
        "when a larger one comes": [*SORTED, "-b", "a[24]=c", "e=5000"],
    },
    "corrupted top size": {
        "all ones": ["a=24", "a[24]=-1", "b=5000"],
        "too large": ["a=24", f"a[24]={HUGE}", "b=5000"],
        "too small": ["a=24", "a[24]=0x101", "b=5000"],
        "behind a free chunk": ["a=100000", "a[100008]^=1", "b=100000"],
        "in another arena": ["m=24", "thread", "a=24", "a[24]=0x101", "b=5000"],
    },
    "corrupted cache": {
        "a link": ["a=100", "b=100", "-a", "-b", "b[0]^=1", "c=100", "d=100"],
        "a link, for an aligned request": ["a=100", "b=100", "-a", "-b", "b[0]^=1", "c=100", "d=100@64"],
        "a link, at the thread's end": ["m=24", "thread", "a=100", "b=100", "-a", "-b", "b[0]^=1"],
    },
    "corrupted fence": {
        "its size": [*SEGMENTS, "fence[0]^=0x40", "-a561", "-a560", "-a559"],
        "its flags": [*SEGMENTS, "fence[8]^=2", "-a561", "-a560", "-a559"],
        "the one before": [*SEGMENTS, "fence[-8]^=0x20", "-a561", "-a560", "-a559"],
    },
    "the break was lowered into the heap": {"by pages": ["a=24", "sbrk=-16384", "b=60000", "c=100000"]},
}  # fmt: skip

OLD_ROOM = 7  # the same in glibc 2.36; then a fast bin takes chunks of 48 bytes
FAST = [f"s{i}=40" for i in range(OLD_ROOM + 4)] + [f"-s{i}" for i in range(OLD_ROOM)]  # s7 to s10 are in use
TAKEN_FAST = [f"t{i}=40" for i in range(OLD_ROOM + 1)]  # all of the cache, and one of the fast bin

FAST_REPORTS: dict[str, dict[str, list[str]]] = {
    "double free": {
        "first in a fast bin (fasttop)": [*FAST, "-s7", "-s7"],
        "second in a fast bin": [*FAST, "-s7", "-s8", "-s7"],
        "taken off its fast bin": [*FAST, "-s7", "b=5000", "-s7"],
        "in the cache": ["a=100", "-a", "-a"],
    },
    "realloc of a free block": {"in a fast bin": [*FAST, "-s7", "s7~300"]},
    "corrupted size behind a chunk": {
        "invalid next size (fast)": [*FAST, "s8[-8]=1", "-s7"],
        "too large (fast)": [*FAST, f"s8[-8]={HUGE}", "-s7"],
    },
    "corrupted size of a fast chunk": {
        "memory corruption (fast)": [*FAST, "-s7", "s7[-8]=0x41", *TAKEN_FAST],
        "invalid chunk size, when all merge": [*FAST, "-s7", "s7[-8]=0x41", "b=5000"],
        "invalid fastbin entry (free)": [*FAST, "-s7", "s7[-8]=0x41", "-s8"],
    },
    "corrupted fast bin": {
        "unaligned chunk, when it serves": [*FAST, "-s7", "-s8", "s8[0]^=1", *TAKEN_FAST, "u=40"],
        "unaligned chunk, when all merge": [*FAST, "-s7", "-s8", "s8[0]^=1", "b=5000"],
        "unaligned chunk, when the top is used up": [*FAST, "-s7", "-s8", "s8[0]^=1", "u=600", "v=120000", "w=120000"],
    },
}  # fmt: skip

SPOILT = {
    f"{reason}: {name}": steps
    for reason, named in REPORTS.items()
    for name, steps in named.items()
    if any("]" in step for step in steps)
}
CASES = [
    (spec, reason, name, steps)
    for spec, reports in (("ptmalloc", REPORTS), ("ptmalloc[VERSION=236]", FAST_REPORTS))
    for reason, named in reports.items()
    for name, steps in named.items()
]
NAMES = [f"{spec}: {reason}: {name}" for spec, reason, name, _ in CASES]

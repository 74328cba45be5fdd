"""Malloc's share of a program's processor time, by samples of `perf`.

The kernel's software clock interrupts the program 997 times in a second of processor time. A sample counts for malloc
if its address lies in the malloc's code: anywhere in the library of a preloaded malloc, and in the C library between
the functions beside its malloc. The kernel's work for the malloc (page faults, system calls) is not in it.

Source: perf-record(1), perf-script(1).
"""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from heapwright import elf
from heapwright.lab.sample import RunError, ending

PERF = "perf"
HERTZ = 997  # not a divisor of what programs do in round numbers
C_LIBRARY_FILE = re.compile(r"libc(\.so\.6|-2\.\d+\.so)")
MAPPING = re.compile(r"(\d+)/\d+: \[0x([0-9a-f]+)\(0x([0-9a-f]+)\) @ (?:0x)?([0-9a-f]+) .*\]: \S+ (.+)")
SAMPLE = re.compile(r"\s*(\d+)\s+([0-9a-f]+) \((.*)\)")
PREFIXES = re.compile(r"^(__libc_|__)")
FAMILY = frozenset(
    {
        *("malloc", "free", "cfree", "calloc", "realloc", "memalign", "aligned_alloc", "posix_memalign", "valloc"),
        *("pvalloc", "free_sized", "free_aligned_sized", "malloc_trim", "malloc_usable_size", "mallinfo", "mallinfo2"),
        *("malloc_stats", "mallopt", "malloc_info", "malloc_get_state", "malloc_set_state", "default_morecore"),
        *("morecore", "freeres"),
    }
)


@dataclass(frozen=True)
class Share:
    """Samples of one run, and how many of them are malloc's."""

    samples: int
    in_malloc: int

    @property
    def part(self) -> float | None:
        """Between 0 and 1; None without samples."""
        return self.in_malloc / self.samples if self.samples else None

    @classmethod
    def of(cls, data: Path, library: Path | None) -> Share:
        """From perf's file; `library` is the malloc's, or None for the C library's own."""
        script = [PERF, "script", "-i", str(data), "--show-mmap-events", "-F", "pid,ip,dso"]
        done = subprocess.run(script, capture_output=True, check=False)
        if done.returncode != 0:
            raise RunError(f"perf script {ending(done.returncode, done.stderr)}")
        return counted_in(done.stdout.decode(errors="replace").splitlines(), library)


def is_measurable() -> bool:
    return shutil.which(PERF) is not None


def recorded(data: Path) -> Sequence[str]:
    """The words before a command that make perf sample it into a file."""
    return [PERF, "record", "-q", "-F", str(HERTZ), "-e", "cpu-clock", "-o", str(data), "--"]


def counted_in(lines: Iterable[str], library: Path | None) -> Share:
    """Count perf's samples. The first lines of a process say where its libraries are."""
    samples = in_malloc = 0
    shifts: dict[str, int] = {}  # of each process's C library: a file's address minus one of memory
    code = range(0)
    for line in lines:
        if found := SAMPLE.fullmatch(line):
            pid, address, name = found[1], int(found[2], 16), Path(found[3]).name
            samples += 1
            if library:
                in_malloc += name == library.name
            elif C_LIBRARY_FILE.fullmatch(name) and pid in shifts:
                in_malloc += address + shifts[pid] in code
        elif (found := MAPPING.search(line)) and C_LIBRARY_FILE.fullmatch(Path(found[5]).name):
            shifts[found[1]] = int(found[4], 16) - int(found[2], 16)
            code = code or malloc_code(found[5])
    return Share(samples, in_malloc)


def malloc_code(path: str) -> range:
    """The addresses of malloc in a C library: from the end of the exported function before it to the next one after it.

    Its static functions lie in between, so no debug symbols are needed.
    """
    functions = elf.functions(path)
    place = next((i for i, each in enumerate(functions) if each.name == "malloc"), None)
    if place is None:
        return range(0)
    before = [each for each in functions[:place] if not is_family(each.name)]
    after = [each for each in functions[place:] if not is_family(each.name)]
    if not before or not after:
        return range(0)
    return range(before[-1].address + before[-1].size, after[0].address)


def is_family(name: str) -> bool:
    return PREFIXES.sub("", name) in FAMILY

"""Preloading a library: a path that the dynamic loader accepts, and programs that preloading cannot serve.

The loader splits LD_PRELOAD at blanks and colons and expands `$LIB` and similar words. If it cannot load a library, it
only prints a warning, and the program runs on the C library's malloc. So a library at a path that the loader does not
accept is preloaded through a link or a copy in a temporary folder.

Source: the Linux man-pages ld.so(8), execve(2).
"""

from __future__ import annotations

import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from heapwright import elf
from heapwright.errors import UserError

REFUSED = " :$"
TEMPORARY = ("/tmp", "/var/tmp", "/dev/shm")  # tried if $TMPDIR is not usable
SCRIPT = b"#!"
MAX_SCRIPTS = 4  # Linux's limit of scripts that interpret each other
LOADER = "ld-linux-x86-64.so.2"


@contextmanager
def preloaded(*libraries: Path, by_all_users: bool = False) -> Iterator[str]:
    """The value of LD_PRELOAD for these libraries, valid inside the context.

    Set `by_all_users` for a program that may change its user and start other programs: these too must be able to read
    the library. Raises UserError when there is no folder for a link or a copy.
    """
    with ExitStack() as stack:
        yield " ".join(str(loadable(each.absolute(), by_all_users, stack)) for each in libraries)


def loadable(path: Path, by_all_users: bool, stack: ExitStack) -> Path:
    """The library itself, or a link or copy that is removed with the stack."""
    must_copy = not is_mappable(path) or (by_all_users and not is_readable_by_all(path))
    if not must_copy and is_plain(path):
        return path
    chosen = temporary_folder(by_all_users)
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="heapwright-", dir=chosen)))
    place = folder / "".join("-" if letter in REFUSED else letter for letter in path.name)
    if must_copy:
        shutil.copyfile(path, place)
        place.chmod(0o644)
        folder.chmod(0o711)
    else:
        place.symlink_to(path)
    return place


def temporary_folder(by_all_users: bool) -> Path:
    """A folder for temporary files from which the loader can load a library."""
    for each in map(Path, (tempfile.gettempdir(), *TEMPORARY)):
        is_usable = is_plain(each) and os.access(each, os.W_OK | os.X_OK) and is_mappable(each)
        if is_usable and (not by_all_users or is_reachable_by_all(each)):
            return each
    raise UserError(
        "LD_PRELOAD takes no path with a blank, a colon or a dollar sign, nor one on a disk mounted noexec: "
        "set HEAPWRIGHT_CACHE or TMPDIR to a folder without"
    )


def is_plain(path: Path) -> bool:
    return not set(REFUSED) & set(str(path))


def is_mappable(path: Path) -> bool:
    """Whether the file system allows code to be mapped from it."""
    return not os.statvfs(path).f_flag & os.ST_NOEXEC


def is_readable_by_all(path: Path) -> bool:
    return bool(path.stat().st_mode & stat.S_IROTH) and is_reachable_by_all(path.parent)


def is_reachable_by_all(folder: Path) -> bool:
    """Whether every user may look up names in a folder."""
    folder = folder.resolve()
    return all(each.stat().st_mode & stat.S_IXOTH for each in (folder, *folder.parents))


# --- programs that preloading cannot serve


def why_unserved(command: str) -> str:
    """The reason why a preloaded malloc cannot serve a program, as a clause about the program; "" if it can."""
    path = executed(command)
    if path and gains_privileges(path):
        return "gains privileges when it starts, and LD_PRELOAD is then ignored"
    return clause(path) if path else ""


def clause(path: str) -> str:
    """The same for an executable that gains no privileges."""
    program = elf.read(path)
    if program is None:
        return ""
    if program.bits == 32:
        return "is a 32-bit program, and the library is a 64-bit one"
    if program.machine != elf.X86_64:
        return "is for another processor"
    if not program.loader:
        return "is statically linked, so nothing can be preloaded"
    if is_foreign(program):
        return f"uses another C library than glibc: its loader is {program.loader}"
    return "brings its own malloc" if elf.defines(path, b"malloc") else ""


def dies_of_preloading(command: str) -> bool:
    """Whether a program's loader would refuse to start it: musl's cannot load a library that needs glibc."""
    path = executed(command)
    program = elf.read(path) if path else None
    return program is not None and program.machine == elf.X86_64 and is_foreign(program)


def is_foreign(program: elf.Program) -> bool:
    return bool(program.loader) and Path(program.loader).name != LOADER


def executed(command: str) -> str | None:
    """The executable that a command runs, if it is readable; for a script, its interpreter."""
    path = shutil.which(command)
    for _ in range(MAX_SCRIPTS):
        start = first_line(path) if path else b""
        if not start.startswith(SCRIPT):
            break
        words = start[len(SCRIPT) :].split(maxsplit=1)
        path = os.fsdecode(words[0]) if words else None
    return path if path and os.access(path, os.R_OK) else None


def first_line(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.readline(256)
    except OSError:
        return b""


def gains_privileges(path: str) -> bool:
    """Whether the loader runs a program in secure mode: because of set-user-ID, set-group-ID or capabilities."""
    facts = os.stat(path)
    other_user = facts.st_mode & stat.S_ISUID and facts.st_uid != os.geteuid()
    other_group = facts.st_mode & stat.S_ISGID and facts.st_gid != os.getegid()
    return bool(other_user or other_group or (os.geteuid() != 0 and has_capabilities(path)))


def has_capabilities(path: str) -> bool:
    try:
        return bool(os.getxattr(path, "security.capability"))
    except OSError:
        return False

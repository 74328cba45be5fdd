"""Build a stack as a shared library, or as text to read. Results are cached by their ingredients."""

from __future__ import annotations

import ctypes
import fcntl
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

from heapwright.native.own_sources import PACKAGE, BuildError, CannotBuild, digest_of, key_of_compiler

if TYPE_CHECKING:
    from heapwright.allocator import Allocator

SYSTEM = PACKAGE / "native" / "runtime" / "system.py"  # the C library's allocator, as the base of layers
FULL = "this process has no room for the thread-local words of one more compiled heap: start it in a new process"
SUFFIXES = {"library": ".so", "archive": ".a", "object": ".o", "llvm": ".ll", "asm": ".s"}


def stack_for(spec: str, counted: bool = False) -> Allocator:
    """The allocator as C and several threads need it, with the layers `sized` and `locked` if it needs them."""
    from heapwright.allocator import load

    allocator = load(spec)
    keep_the_rules(allocator)
    if not allocator.has_usable_size:
        allocator = load(f"sized({allocator.spec})")
    if not allocator.is_threaded:
        allocator = load(f"locked({allocator.spec})")
    return load(f"counted({allocator.spec})") if counted else allocator


def keep_the_rules(allocator: Allocator) -> None:
    """Refuse a user's file that breaks a rule of the dialect. The linter says what to do; the compiler would not."""
    for part in allocator.parts:
        if part.__file__ and not Path(part.__file__).is_relative_to(PACKAGE):
            from heapwright.dialect import require

            require(Path(part.__file__))


def library_of(spec: str, counted: bool = False) -> Path:
    """The library of an allocator's C face, from the cache or compiled now."""
    return made_of(stack_for(spec, counted))


def made_of(stack: Allocator, form: str = "library") -> Path:
    """A complete stack in one form: its library, archive, object code, or LLVM or assembler text."""
    from heapwright.native.ingredients import key_of, label

    return cached(label(stack.spec), key_of(stack), ["heap", stack.spec], form)


def recorder_library() -> Path:
    """The library that records the calls to the C library's own allocator."""
    return over_system("recorder", "traced", "recorder")


def sampler_library() -> Path:
    """The library that records a sample of these calls."""
    return over_system("sampler", "sampled", "recorder")


def counter_library() -> Path:
    """The library that counts the calls to the C library's own allocator."""
    return over_system("counter", "counted", "counter")


def over_system(name: str, layer: str, kind: str) -> Path:
    """The library of a layer over the C library's own allocator.

    Its sources are among those that every key contains. So the stack, which imports Numba, is loaded only to compile.
    """
    return cached(name, key_of_compiler(), [kind, f"{layer}({SYSTEM})"])


def replayer_library() -> Path:
    """The library that replays a job when it is loaded."""
    return cached("replayer", key_of_compiler(), ["replayer", ""])


def address_logger_library() -> Path:
    """The library that replays a job in windows and logs addresses when it is loaded."""
    return cached("addresses", key_of_compiler(), ["addresses", ""])


def curves_library(spec: str = "") -> Path:
    """The library that follows the parts of a heap over a trace when it is loaded; of a stack of ours, by its walk."""
    if not spec:
        return cached("curves", key_of_compiler(), ["curves", spec])
    from heapwright.allocator import load
    from heapwright.native.ingredients import key_of, label

    return cached(f"curves-{label(spec)}", key_of(load(spec)), ["curves", spec])


def holder_library() -> Path:
    """The library that replays a job up to a moment when it is loaded, and holds the process there."""
    return cached("holder", key_of_compiler(), ["holder", ""])


def causal_library() -> Path:
    """The library that replays a job on threads when it is loaded."""
    return cached("causal", key_of_compiler(), ["causal", ""])


def functions_library(module: ModuleType) -> Path:
    """The library of a module's plain functions, such as a walk over a copied heap."""
    return functions_library_at(module.__name__, Path(module.__file__ or os.devnull))


def functions_library_at(name: str, path: Path) -> Path:
    """The same for a module that is imported only if it must be compiled."""
    return cached(*functions_key(name, path), ["functions", name])


def opened(library: Path) -> ctypes.CDLL:
    """A library for Python to call. The dynamic loader would replace `$LIB` and the like in its path."""
    try:
        if "$" not in str(library):
            return ctypes.CDLL(str(library))
        with library.open("rb") as file:
            return ctypes.CDLL(f"/proc/self/fd/{file.fileno()}")
    except OSError as error:
        if "static TLS" not in str(error):
            raise
        raise CannotBuild(FULL) from None


def has_functions_library(module: ModuleType) -> bool:
    """Whether the library of a module's functions is in the cache."""
    return place_of(*functions_key(module.__name__, Path(module.__file__ or os.devnull))).exists()


def functions_key(name: str, path: Path) -> tuple[str, str]:
    return name.replace(".", "-"), digest_of(key_of_compiler().encode() + path.read_bytes()).hex()


def cached(name: str, key: str, what: list[str], form: str = "library") -> Path:
    """A library from the cache, compiled and linked now if necessary. It appears whole or not at all."""
    place = place_of(name, key, form)
    if not place.exists():
        tool = tool_for(form)
        try:
            place.parent.mkdir(parents=True, exist_ok=True)
            with alone(place), tempfile.TemporaryDirectory(dir=place.parent) as work:
                if not place.exists():
                    make(what, form, tool, Path(work)).replace(place)
        except OSError as error:
            hint = "set HEAPWRIGHT_CACHE to a folder that you own"
            raise CannotBuild(f"cannot write {place}: {error.strerror}; {hint}") from error
    return place


def place_of(name: str, key: str, form: str = "library") -> Path:
    return cache() / f"{name}-{key}{SUFFIXES[form]}"


@contextmanager
def alone(place: Path) -> Iterator[None]:
    """Let only one process at a time make a library. The others wait, and then find it finished."""
    with place.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        try:
            yield
        finally:
            place.with_suffix(".lock").unlink(missing_ok=True)


def make(what: list[str], form: str, tool: list[str], work: Path) -> Path:
    made = work / "made"
    if not tool:
        compile_to(made, what, form)
        return made
    compile_to(work / "heap.o", what)
    link(tool, work / "heap.o", made)
    return made


def compile_to(output: Path, what: list[str], form: str = "object") -> None:
    """Compile a kind and a stack in a separate process, to object code or to LLVM or assembler text."""
    try:
        what[1].encode()
    except UnicodeEncodeError as error:
        raise BuildError(f"{what[1]} cannot be compiled: its path is not UTF-8; rename it") from error
    command = [sys.executable, "-m", "heapwright.native.build", *what, str(output), form]
    if sys.stderr.isatty():
        sys.stderr.write(f"compiling {what[1] or what[0]} ...\r")
        sys.stderr.flush()
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=without_preload())
    if done.returncode != 0:
        raise BuildError((done.stderr.strip() or f"the compiler ended with status {done.returncode}").splitlines()[-1])


def without_preload() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name != "LD_PRELOAD"}


# --- the linker and the archiver


def tool_for(form: str) -> list[str]:
    """The command that makes a form from an object file, without the file names; empty if none is needed."""
    if form == "library":
        return find_linker()
    return find_archiver() if form == "archive" else []


def find_linker() -> list[str]:
    """The command that links an object file to a library: $CC, cc, or ld alone."""
    drivers = [os.environ["CC"]] if os.environ.get("CC") else ["cc", "gcc", "clang"]
    for driver in drivers:
        if shutil.which(driver):
            return [driver, "-shared", "-nostdlib", "-Wl,-z,now", "-Wl,-z,noexecstack", "-o"]
    if shutil.which("ld"):
        return ["ld", "-shared", "-z", "now", "-z", "noexecstack", "-o"]
    raise CannotBuild("there is no linker: install one (Debian: apt-get install gcc, or binutils), or set CC")


def find_archiver() -> list[str]:
    """The command that puts an object file into an archive with an index: $AR or ar."""
    for program in [os.environ["AR"]] if os.environ.get("AR") else ["ar", "llvm-ar"]:
        if shutil.which(program):
            return [program, "rcs"]
    raise CannotBuild("there is no ar: install one (Debian: apt-get install binutils), or set AR")


def link(tool: list[str], objects: Path, made: Path) -> None:
    done = subprocess.run([*tool, made, objects], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        reason = (done.stderr.strip() or "it printed nothing").splitlines()[-1]
        raise BuildError(f"{tool[0]} could not make the library: {reason}")


# --- the cache


def cache() -> Path:
    """The folder of the cached libraries: $HEAPWRIGHT_CACHE, or heapwright in the user's cache folder."""
    chosen = os.environ.get("HEAPWRIGHT_CACHE")
    if chosen:
        return Path(chosen)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "heapwright"

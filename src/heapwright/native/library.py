"""A stack as a shared library: compiled once, cached by the content of every source that goes in."""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType

from heapwright.allocator import Allocator, load
from heapwright.errors import Mendable

PACKAGE = Path(__file__).parent.parent
# Packages that nothing here may import, and allocators: those of a stack are found by its own imports.
NEVER_COMPILED = {"allocators", "machine", "collections", "programs", "conformance", "lab", "pictures", "cli"}
IMPORT = re.compile(r"^ *(?:from|import) +([\w.]+)", re.M)


class BuildError(Mendable):
    """A library that cannot be made; its text is one line that says what to do."""


def stack_for(spec: str, counted: bool = False) -> Allocator:
    """The allocator as many threads and C need it: `sized` and `locked` where it does not do so itself."""
    allocator = load(spec)
    keep_the_rules(allocator)
    if not allocator.has_usable_size:
        allocator = load(f"sized({allocator.spec})")
    if not allocator.is_threaded:
        allocator = load(f"locked({allocator.spec})")
    return load(f"counted({allocator.spec})") if counted else allocator


def keep_the_rules(allocator: Allocator) -> None:
    """Refuse a user's file that breaks a rule of the dialect: the linter says what to do, the compiler does not."""
    for part in allocator.parts:
        if part.__file__ and not Path(part.__file__).is_relative_to(PACKAGE):
            from heapwright.dialect import require

            require(Path(part.__file__))


def library_of(spec: str, counted: bool = False) -> Path:
    """The library of an allocator's C face, from the cache or compiled now."""
    stack = stack_for(spec, counted)
    return cached(label(stack.spec), key_of(stack), ["heap", stack.spec])


def recorder_library() -> Path:
    """The library that records the calls to the C library's own allocator."""
    stack = load(f"traced({PACKAGE / 'native' / 'runtime' / 'system.py'})")
    return cached("recorder", key_of(stack), ["recorder", stack.spec])


def replayer_library() -> Path:
    """The library that replays a job when it is loaded."""
    return cached("replayer", key_of(None), ["replayer", ""])


def cached(name: str, key: str, what: list[str]) -> Path:
    """A library from the cache, or compiled and linked now: it appears whole or not at all."""
    place = cache() / f"{name}-{key}.so"
    if not place.exists():
        linker = find_linker()
        try:
            place.parent.mkdir(parents=True, exist_ok=True)
            with alone(place), tempfile.TemporaryDirectory(dir=place.parent) as work:
                if not place.exists():
                    make(what, linker, Path(work), place)
        except OSError as error:
            hint = "set HEAPWRIGHT_CACHE to a folder that you own"
            raise BuildError(f"cannot write {place}: {error.strerror}; {hint}") from error
    return place


@contextmanager
def alone(place: Path) -> Iterator[None]:
    """Let one process at a time make a library; the others then find it made."""
    with place.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        try:
            yield
        finally:
            place.with_suffix(".lock").unlink(missing_ok=True)


def make(what: list[str], linker: list[str], work: Path, place: Path) -> None:
    objects, library = work / "heap.o", work / "heap.so"
    compile_to(objects, what)
    link(linker, objects, library)
    library.replace(place)


def compile_to(output: Path, what: list[str], form: str = "object") -> None:
    """Compile a kind and a stack in a process of its own: to object code, or to LLVM or assembler text."""
    command = [sys.executable, "-m", "heapwright.native.build", *what, str(output), form]
    if sys.stderr.isatty():
        sys.stderr.write(f"compiling {what[1] or what[0]} ...\r")
        sys.stderr.flush()
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=without_preload())
    if done.returncode != 0:
        raise BuildError((done.stderr.strip() or f"the compiler ended with status {done.returncode}").splitlines()[-1])


def without_preload() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name != "LD_PRELOAD"}


# --- the linker


def find_linker() -> list[str]:
    """The command that links an object to a library: $CC, cc, or ld alone."""
    drivers = [os.environ["CC"]] if os.environ.get("CC") else ["cc", "gcc", "clang"]
    for driver in drivers:
        if shutil.which(driver):
            return [driver, "-shared", "-nostdlib", "-Wl,-z,now", "-Wl,-z,noexecstack"]
    if shutil.which("ld"):
        return ["ld", "-shared", "-z", "now", "-z", "noexecstack"]
    raise BuildError("there is no linker: install one (Debian: apt-get install gcc, or binutils), or set CC")


def link(linker: list[str], objects: Path, library: Path) -> None:
    done = subprocess.run([*linker, "-o", library, objects], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        reason = (done.stderr.strip() or "it printed nothing").splitlines()[-1]
        raise BuildError(f"{linker[0]} could not link the library: {reason}")


# --- the cache


def cache() -> Path:
    """Where libraries are kept: $HEAPWRIGHT_CACHE, or heapwright in the user's cache folder."""
    chosen = os.environ.get("HEAPWRIGHT_CACHE")
    if chosen:
        return Path(chosen)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "heapwright"


def label(spec: str) -> str:
    """A stack's name as part of a file name."""
    return "".join(letter if letter.isalnum() or letter == "_" else "-" for letter in spec).strip("-")[-60:]


def key_of(stack: Allocator | None) -> str:
    """A hash of every source that goes in, and of the compiler's versions."""
    compiler = (sys.version_info[:2], release("numba"), release("llvmlite"), stack.spec if stack else "")
    digest = hashlib.sha256(repr(compiler).encode())
    for path in sorted({*(sources_of(stack) if stack else ()), *compiler_sources()}):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def release(package: str) -> str:
    """A package's release: the name of the folder that its installer left beside it.

    As `importlib.metadata.version` says, whose import alone takes longer than all else before a program starts.
    """
    spec = find_spec(package)
    if spec is None or spec.origin is None:
        raise BuildError(f"{package} is not installed: pip install {package}")
    beside = sorted(Path(spec.origin).parent.parent.glob(f"{package}-*.dist-info"))
    return beside[0].name if beside else spec.origin


def compiler_sources() -> Iterator[Path]:
    """All that may go into a library beside its stack, and a little more: what is forgotten here is hashed."""
    for path in PACKAGE.rglob("*.py"):
        if path.relative_to(PACKAGE).parts[0] not in NEVER_COMPILED:
            yield path


def sources_of(stack: Allocator) -> set[Path]:
    """The files of the stack's modules and of those that they import, directly or through others."""
    seen: dict[str, ModuleType] = {}
    waiting = list(stack.parts)
    while waiting:
        module = waiting.pop()
        if module.__name__ not in seen:
            seen[module.__name__] = module
            waiting += neighbours(module)
    return {Path(module.__file__) for module in seen.values() if module.__file__}


def neighbours(module: ModuleType) -> Iterator[ModuleType]:
    """The modules that a module imports, or imports from, but for the standard library's and the compiler's."""
    named = IMPORT.findall(Path(module.__file__ or os.devnull).read_text())
    held = [thing for thing in vars(module).values() if isinstance(thing, ModuleType)]
    for found in (*map(sys.modules.get, named), *held):
        if found and getattr(found, "__file__", None) and is_of_a_stack(found.__name__):
            yield found


def is_of_a_stack(module: str) -> bool:
    package, *rest = module.split(".")
    if package == "heapwright":
        return bool(rest) and rest[0].startswith("allocators")
    return package not in sys.stdlib_module_names

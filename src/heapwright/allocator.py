"""What an allocator is: a module, found by name, by path, or as a stack such as `locked(buddy)`.

An allocator module defines `Heap`, `alloc`, `dealloc`, `walk` and `check`; it may define `realloc`,
`alloc_zeroed`, `usable_size`, `trim`, `thread_exit` and the three of `fork`. See docs/dialect.md.

A layer is a module of the same form that says `from heapwright.layers import inner`: it is executed anew for
each stack, with `inner` bound to the allocator below it.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import heapwright.layers
from heapwright.allocators import ALLOCATORS
from heapwright.errors import Mendable, suggestion
from heapwright.layers import LAYERS
from heapwright.layout import ArrayKind, AtomicKind, StructMeta

REQUIRED = ("Heap", "alloc", "dealloc", "walk", "check")
TRAITS = ("THREADS", "DETECTS", "WALK")
OF_THE_HEAP = (
    "walk",
    "check",
    "lists",
    "survey",
    "trim",
    "tune",
    "thread_exit",
    "fork_prepare",
    "fork_parent",
    "fork_child",
)  # what a layer need not say; what concerns one block, it must
HERE = Path(__file__).parent
COMPLETE, WITHIN = HERE / "layers" / "complete.py", HERE / "layers" / "within.py"


class AllocatorError(Mendable):
    """An allocator that cannot be found or loaded; its text is one line that says what to do."""


class Allocator:
    """One allocator, or a stack of layers over one, ready for a world.

    `module` is the completed module; `parts` are the modules of the stack from the top down.
    """

    def __init__(self, spec: str, module: ModuleType, parts: tuple[ModuleType, ...]):
        self.spec, self.module, self.parts = spec, module, parts

    def __getattr__(self, name: str) -> Any:
        return getattr(self.module, name)

    @property
    def has_usable_size(self) -> bool:
        return hasattr(self.module, "usable_size")

    @property
    def is_threaded(self) -> bool:
        """Whether many threads may call it."""
        return getattr(self.module, "THREADS", "one") == "own"

    @property
    def slow_paths(self) -> frozenset[str]:
        return frozenset(name for part in self.parts for name in getattr(part, "SLOW_PATHS", ()))

    def bind(self, path: Path) -> ModuleType:
        """A module written over `inner`, such as the C face, executed for this allocator."""
        return instantiate(f"{path.stem}({self.spec})", path, self.module)

    def __repr__(self) -> str:
        return f"Allocator({self.spec!r})"


def load(spec: str) -> Allocator:
    """Load an allocator by name (`kr`), path (`mine.py`) or stack (`locked(kr)`)."""
    parts: tuple[ModuleType, ...] = ()
    module: ModuleType | None = None
    below = ""
    for name in reversed(parse(spec)):
        path = find(name, module is not None)
        below = f"{name}({below})" if below else name
        part = over(module, path, below)
        require(part, path)
        require_place(part, path, module)
        module = over(part, COMPLETE, f"complete({below})")
        parts = (part, *parts)
    assert module is not None
    return Allocator(spec, module, parts)


def parse(spec: str) -> list[str]:
    """The names of a stack from the top down: `locked(counted(kr))` is locked, counted, kr."""
    names = [part.strip() for part in spec.rstrip(") ").split("(")]
    balanced = spec.count("(") == spec.count(")") and not re.search(r"\)[^)]", spec)
    if not balanced or not all(names):
        raise AllocatorError(f"'{spec}' is not a stack: write it as layer(layer(allocator))")
    return names


def find(name: str, is_layer: bool) -> Path:
    """The source of a name or a path."""
    if name.endswith(".py") or "/" in name:
        path = Path(name)
        if not path.is_file():
            raise AllocatorError(f"there is no file {name}")
        return path.resolve()
    room, known = ("layers", LAYERS) if is_layer else ("allocators", ALLOCATORS)
    if name not in known:
        raise AllocatorError(f"no {room[:-1]} is named '{name}': {suggestion(name, known)}")
    return HERE / room / f"{name}.py"


def instantiate(name: str, path: Path, inner: ModuleType | None) -> ModuleType:
    """Execute a source as a module of its own, with `inner` bound for the time of its import."""
    module = ModuleType(f"heapwright.allocators[{name}]")
    module.__file__ = str(path)
    sys.modules[module.__name__] = module  # structs look up the names of their annotations here
    with bound(inner):
        execute(path, module)
    return module


def over(below: ModuleType | None, path: Path, name: str) -> ModuleType:
    """The module of a source. A layer is what the heap below it is, in what it does not say of the heap as a whole."""
    part = instantiate(name, path, below)
    if below is not None:
        is_same = getattr(part, "Heap", None) is below.Heap
        inherit(part, below, TRAITS)
        inherit(part, below if is_same else instantiate(f"within({name})", WITHIN, below), OF_THE_HEAP)
    return part


def inherit(part: ModuleType, source: ModuleType, names: Iterable[str]) -> None:
    for name in names:
        if hasattr(source, name) and not hasattr(part, name):
            setattr(part, name, getattr(source, name))


def require(module: ModuleType, path: Path) -> None:
    """Refuse a module that lacks a function, or whose structs name one that is nowhere."""
    missing = [need for need in REQUIRED if not hasattr(module, need)]
    if missing:
        raise AllocatorError(f"{path}: an allocator defines {', '.join(REQUIRED)}; missing: {', '.join(missing)}")
    for struct in vars(module).values():
        if isinstance(struct, StructMeta):
            resolve(struct, path)


def require_place(layer: ModuleType, path: Path, below: ModuleType | None) -> None:
    """Refuse a layer whose words leave out those of the heap below."""
    if below is not None and layer.Heap is not below.Heap and "heap" not in layer.Heap.fields:
        raise AllocatorError(f"{path}: a layer's Heap is inner.Heap, or has it in place: heap: Inline[inner.Heap]")


def resolve(struct: StructMeta, path: Path) -> None:
    try:
        for field in struct:
            getattr(innermost(field.kind), "struct", None)
    except TypeError as error:
        raise AllocatorError(f"{path}: {error}") from error


def innermost(kind: Any) -> Any:
    """What an array's elements or an atomic cell hold; else the kind itself."""
    while isinstance(kind, ArrayKind | AtomicKind):
        kind = kind.element if isinstance(kind, ArrayKind) else kind.cell
    return kind


class bound:  # noqa: N801  reads as a statement
    """`from heapwright.layers import inner` means `inner` inside this block."""

    def __init__(self, inner: ModuleType | None):
        self.inner = inner

    def __enter__(self) -> None:
        if self.inner is not None:
            heapwright.layers.inner = self.inner  # type: ignore[attr-defined]

    def __exit__(self, *_: object) -> None:
        if self.inner is not None:
            del heapwright.layers.inner  # type: ignore[attr-defined]


def execute(path: Path, module: ModuleType) -> None:
    try:
        code = compile(path.read_text(), str(path), "exec")
        exec(code, module.__dict__)  # noqa: S102  running the allocator is the point
    except SyntaxError as error:
        raise AllocatorError(f"{path}:{error.lineno}: {error.msg}") from error
    except (OSError, UnicodeDecodeError) as error:
        raise AllocatorError(f"{path} cannot be read: {error}") from error
    except Exception as error:
        raise AllocatorError(f"{path}:{line_in(path, error)}: {type(error).__name__}: {error}") from error


def line_in(path: Path, error: BaseException) -> int:
    """The last line of `path` on the way to an error."""
    lines = [frame.tb_lineno for frame in frames_of(error) if frame.tb_frame.f_code.co_filename == str(path)]
    return lines[-1] if lines else 1


def frames_of(error: BaseException) -> Iterator[Any]:
    frame = error.__traceback__
    while frame:
        yield frame
        frame = frame.tb_next

"""Loading of allocators: modules, found by name, by path, or as a stack such as `locked(buddy)`.

An allocator module defines `Heap`, `alloc`, `dealloc`, `walk` and `check`. It may also define `realloc`,
`alloc_zeroed`, `usable_size`, `trim`, `thread_exit` and the three `fork` calls. See docs/dialect.md.

An allocator may be a package: `mine/__init__.py` and further modules (rooms) such as `mine/chunks.py`, which it imports
with `from mine import chunks`. Each load executes the rooms of a user's package again, wherever the folder is.

A layer is a module of the same form with the line `from heapwright.layers import inner`. It is executed again for each
stack, with `inner` bound to the allocator below it.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property, lru_cache
from importlib.machinery import ModuleSpec
from pathlib import Path
from traceback import walk_tb
from types import CodeType, FunctionType, ModuleType
from typing import Any

import heapwright.layers
from heapwright.allocators import ALLOCATORS
from heapwright.errors import AllocatorError, suggestion
from heapwright.layers import LAYERS
from heapwright.layout import ArrayKind, AtomicKind, StructMeta
from heapwright.variants import SHARED, Constants, base_of, constants_of, require_tunables, with_constants

REQUIRED = ("Heap", "alloc", "dealloc", "walk", "check")
TEXTS = ("DETECTS", "RACES", "SLOW_PATHS")  # constants that are tuples of strings
TRAITS = ("THREADS", "DETECTS", "UNMAPS", "WALK")
OF_THE_HEAP = (  # calls that a layer need not define; calls that concern one block it must
    *("walk", "check", "lists", "survey", "survey_part", "trim", "tune", "innermost"),
    *("thread_exit", "fork_prepare", "fork_parent", "fork_child", "release_held"),
    *("enter", "leave", "count_in", "count_out", "slot_near", "expect_size", "expect_room"),
)
HERE = Path(__file__).parent
PACKAGE_FILE, INTERFACE_FILE = "__init__.py", "interface.py"
SHIPPED = "heapwright.allocators"
LOADED = f"{SHIPPED}["  # prefix of the names of modules executed for one stack
COMPLETE, WITHIN = HERE / "layers" / "complete.py", HERE / "layers" / "within.py"


class Allocator:
    """One allocator, or a stack of layers over one; `load` makes it.

    `spec` is the text given to `load`, `module` the module that does the work, and `parts` are the modules of the stack
    from the top down. Every name of the module, such as `alloc` or `Heap`, is an attribute of the allocator. `help`
    shows the allocator's page: its picture, its invariants, its costs.

    >>> kr = load("kr")
    >>> kr
    <Allocator kr: The heap of Kernighan and Ritchie, as xv6 ships it: next fit over one circular free list.>
    >>> kr.has_usable_size, kr.is_threaded
    (True, False)
    """

    def __init__(self, spec: str, module: ModuleType, parts: tuple[ModuleType, ...]):
        self.spec, self.module, self.parts = spec, module, parts
        self.__doc__ = parts[-1].__doc__

    def __getattr__(self, name: str) -> Any:
        return getattr(self.module, name)

    @property
    def name(self) -> str:
        """The name of the allocator at the bottom of the stack; for a user's file or package, without its folder."""
        return name_of(parse(self.spec)[-1])

    @property
    def has_usable_size(self) -> bool:
        return hasattr(self.module, "usable_size")

    @property
    def is_threaded(self) -> bool:
        """Whether several threads may call it at the same time."""
        return getattr(self.module, "THREADS", "one") == "own"

    @property
    def has_caches(self) -> bool:
        """Whether it offers object caches to programs. A layer does not, because it would not see their objects."""
        return hasattr(self.parts[0], "cache_create")

    @property
    def has_protected_pages(self) -> bool:
        """Whether a layer protects pages, so that a fault is the heap's to explain."""
        return hasattr(self.module, "slot_near")

    @property
    def expects_sizes(self) -> bool:
        """Whether it checks the size that a caller says when it frees a block."""
        return "wrong size" in getattr(self.module, "DETECTS", ())

    @property
    def expects_room(self) -> bool:
        """Whether it says if a block has room for what a caller is about to write."""
        return "copy" in getattr(self.module, "DETECTS", ())

    @property
    def slow_paths(self) -> frozenset[str]:
        return frozenset(name for part in self.parts for name in getattr(part, "SLOW_PATHS", ()))

    @property
    def thread_words(self) -> int:
        """The number of thread-local words that its parts ask for; 0 if the usual ones are enough."""
        return max(getattr(part, "THREAD_WORDS", 0) for part in self.parts)

    @cached_property
    def interface(self) -> ModuleType | None:
        """The C functions that only this allocator has, over the stack; None if its package has no such room.

        `EXPORTS` has their names and numbers of arguments, without the stack's heap, which comes first.
        """
        path = Path(self.parts[-1].__file__ or "").with_name(INTERFACE_FILE)
        is_package = path.parent.parent == HERE / "allocators"
        return self.bind(path) if is_package and path.is_file() else None

    def bind(self, path: Path) -> ModuleType:
        """Execute a module written over `inner`, such as the C face, for this allocator."""
        return instantiate(f"{path.stem}({self.spec})", path, self.module, self.parts[-1])

    def __repr__(self) -> str:
        idea = (self.__doc__ or "").strip().partition("\n")[0]
        return f"<Allocator {self.spec}{idea and f': {idea}'}>"


def load(spec: str) -> Allocator:
    """Load an allocator by name (`kr`), file (`mine.py`), package (`./mine/`) or stack (`locked(kr)`).

    Raises `AllocatorError`, with a text of one line, if the allocator does not exist or cannot be used.

    >>> load("locked(kr)").parts[0].__name__
    'heapwright.allocators[locked(kr)]'
    >>> load("krr")
    Traceback (most recent call last):
        ...
    heapwright.errors.AllocatorError: no allocator is named 'krr': did you mean 'kr'?
    """
    parts: tuple[ModuleType, ...] = ()
    module: ModuleType | None = None
    below = ""
    for name in reversed(parse(spec)):
        path = find(name, module is not None)
        require_tunables(name, path)
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
    """The source file for a name or a path: `__init__.py` for a package, the allocator's file for a variant."""
    name = base_of(name)
    if name.endswith(".py") or "/" in name:
        path = Path(name, PACKAGE_FILE) if Path(name).is_dir() else Path(name)
        if not path.is_file():
            raise AllocatorError(f"there is no file {path}")
        return path.resolve()
    room, known = ("layers", LAYERS) if is_layer else ("allocators", ALLOCATORS)
    if name not in known:
        raise AllocatorError(f"no {room[:-1]} is named '{name}': {suggestion(name, known)}")
    package = HERE / room / name / PACKAGE_FILE
    return package if package.is_file() else HERE / room / f"{name}.py"


def name_of(source: str | Path) -> str:
    """The name of an allocator given by name or path: that of its file, or of the folder of its package."""
    path = Path(base_of(str(source)))
    if path.stem in ("", "..", "__init__"):  # a path that does not contain the name of the folder
        path = path.resolve()
    return path.parent.name if path.name == PACKAGE_FILE else path.stem


def instantiate(name: str, path: Path, inner: ModuleType | None, bottom: ModuleType | None = None) -> ModuleType:
    """Execute a source file as a new module, with `inner` and `bottom` bound during its import."""
    module = ModuleType(f"{LOADED}{name}]")
    module.__file__ = str(path)
    forget(module.__name__)
    sys.modules[module.__name__] = module  # structs look up the names of their annotations here
    if path.name == PACKAGE_FILE or variant_of(module.__name__):
        module.__path__ = [str(path.parent)]
    with bound(inner, bottom):
        execute(path, module)
    return module


def forget(package: str) -> None:
    """Remove the rooms of a package, so that the next import executes them again."""
    for name in [name for name in sys.modules if name.startswith(f"{package}.")]:
        del sys.modules[name]


def over(below: ModuleType | None, path: Path, name: str) -> ModuleType:
    """The module of a source file. A layer inherits traits and calls on the whole heap that it does not define."""
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
    """Refuse a module that lacks a required name, or whose structs refer to an unknown struct."""
    missing = [need for need in REQUIRED if not hasattr(module, need)]
    if missing:
        raise AllocatorError(f"{path}: an allocator defines {', '.join(REQUIRED)}; missing: {', '.join(missing)}")
    if not isinstance(module.Heap, StructMeta):
        raise AllocatorError(f"{path}: Heap is a struct: write `class Heap(Struct):`")
    for name in REQUIRED[1:]:
        if not isinstance(getattr(module, name), FunctionType):
            raise AllocatorError(f"{path}: {name} is a function: write `def {name}(heap, ...):`")
    for name in TEXTS:
        if not isinstance(getattr(module, name, ()), tuple):
            raise AllocatorError(f"{path}: {name} is a tuple of texts, as in ('double free', 'foreign')")
    for struct in vars(module).values():
        if isinstance(struct, StructMeta):
            resolve(struct, path)


def require_place(layer: ModuleType, path: Path, below: ModuleType | None) -> None:
    """Refuse a layer whose `Heap` does not contain the inner heap."""
    if below is not None and layer.Heap is not below.Heap and "heap" not in layer.Heap.fields:
        raise AllocatorError(f"{path}: a layer's Heap is inner.Heap, or has it in place: heap: Inline[inner.Heap]")


def resolve(struct: StructMeta, path: Path) -> None:
    try:
        for field in struct:
            getattr(innermost(field.kind), "struct", None)
    except TypeError as error:
        raise AllocatorError(f"{path}: {error}") from error


def innermost(kind: Any) -> Any:
    """The kind of an array's elements or an atomic cell; otherwise the kind itself."""
    while isinstance(kind, ArrayKind | AtomicKind):
        kind = kind.element if isinstance(kind, ArrayKind) else kind.cell
    return kind


class bound:  # noqa: N801  reads as a statement
    """A context in which `from heapwright.layers import inner, bottom` imports the given modules."""

    def __init__(self, inner: ModuleType | None, bottom: ModuleType | None):
        named = {"inner": inner, "bottom": bottom}
        self.modules = {name: module for name, module in named.items() if module is not None}

    def __enter__(self) -> None:
        vars(heapwright.layers).update(self.modules)

    def __exit__(self, *_: object) -> None:
        for name in self.modules:
            delattr(heapwright.layers, name)


def execute(path: Path, module: ModuleType) -> None:
    try:
        code = code_of(path.read_text(), path, module.__name__, constants_in(path, module.__name__))
        exec(code, module.__dict__)  # noqa: S102  running the allocator is the point
    except AllocatorError:  # from a room
        raise
    except SyntaxError as error:
        raise AllocatorError(f"{path}:{error.lineno}: {error.msg}") from error
    except (OSError, UnicodeDecodeError) as error:
        raise AllocatorError(f"{path} cannot be read: {error}") from error
    except (Exception, SystemExit) as error:
        raise AllocatorError(f"{path}:{line_in(path, error)}: {type(error).__name__}: {error}") from error


@lru_cache(512)  # who compares heaps, or tests them, loads the same few stacks again and again
def code_of(text: str, path: Path, module: str, constants: Constants) -> CodeType:
    tree = with_own_rooms(with_constants(ast.parse(text, str(path)), constants), path, module)
    return compile(tree, str(path), "exec")


def constants_in(path: Path, module: str) -> Constants:
    """The constants of a source that the variant it is loaded for sets."""
    spec = variant_of(module) or layer_variant_of(module)
    return constants_of(path, spec, find(spec, is_layer=False) if variant_of(module) else path)


def line_in(path: Path, error: BaseException) -> int:
    """The last line of `path` in the traceback of an error."""
    return [1, *(line for frame, line in walk_tb(error.__traceback__) if frame.f_code.co_filename == str(path))][-1]


# --- the rooms of a user's package, and of a variant


def with_own_rooms(tree: ast.Module, path: Path, module: str) -> ast.Module:
    """Rewrite a source's imports from its own package, so that they mean the rooms of this load only."""
    for node in statements_of(tree) if module.startswith(LOADED) else ():
        if isinstance(node, ast.ImportFrom) and node.module and not node.level:
            node.module = own_name(node.module, path, module)
        for alias in node.names if isinstance(node, ast.Import) else ():
            alias.name = own_name(alias.name, path, module) if alias.asname else alias.name
    return tree


def statements_of(node: ast.AST) -> Iterator[ast.AST]:
    """All statements of a source, without its expressions, which are many."""
    for block in ("body", "orelse", "finalbody", "handlers", "cases"):
        for inner in getattr(node, block, ()):
            yield inner
            yield from statements_of(inner)


def own_name(imported: str, path: Path, module: str) -> str:
    """The name under which an imported module was loaded, for a source that was loaded as `module`."""
    own = root_of(module)
    if variant_of(module):
        main = f"{SHIPPED}.{name_of(find(variant_of(module), is_layer=False))}"
        for shipped, there in ((main, own), (f"{SHIPPED}.parts", f"{own}.parts")):
            if imported == shipped or imported.startswith(f"{shipped}."):
                return there + imported.removeprefix(shipped)
    package, dot, room = imported.partition(".")
    is_of_package = path.name == PACKAGE_FILE or own != module
    return f"{own}{dot}{room}" if is_of_package and package == path.parent.name else imported


def root_of(module: str) -> str:
    """The name of the allocator's main module in one load, given that module or one of its rooms."""
    return module if module.endswith("]") else f"{module.rpartition('].')[0]}]"


def variant_of(module: str) -> str:
    """The variant to which a module belongs, such as `hoard[SLACK=4]`; "" if there is none."""
    spec = root_of(module).removeprefix(LOADED).removesuffix("]") if module.startswith(LOADED) else ""
    return spec if "(" not in spec and base_of(spec) != spec else ""


def layer_variant_of(module: str) -> str:
    """The same for a layer, such as `guarded[RATE=9]` of `guarded[RATE=9](kr)`."""
    head = module.removeprefix(LOADED).partition("(")[0]
    return head if "(" in module and base_of(head) != head else ""


class Rooms:
    """An importer that finds and executes the rooms of loaded packages."""

    @classmethod
    def find_spec(cls, name: str, path: Sequence[str] | None, target: object = None) -> ModuleSpec | None:
        package, _, room = name.rpartition(".")
        if not package.startswith(LOADED) or not path:
            return None
        if room == "parts" and variant_of(package):
            found = ModuleSpec(name, cls, origin=str(SHARED / PACKAGE_FILE), is_package=True)  # type: ignore[arg-type]
            found.submodule_search_locations = [str(SHARED)]
            return found
        file = Path(path[0], f"{room}.py")
        return ModuleSpec(name, cls, origin=str(file)) if file.is_file() else None  # type: ignore[arg-type]

    @staticmethod
    def create_module(spec: ModuleSpec) -> None:
        """Let Python create the module."""

    @staticmethod
    def exec_module(module: ModuleType) -> None:
        assert module.__spec__ is not None
        module.__file__ = str(module.__spec__.origin)
        execute(Path(module.__file__), module)


sys.meta_path.insert(0, Rooms)

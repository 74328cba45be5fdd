"""The ladder: packages import only from those above, modules not in a circle, and only `native` the compiler."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

LADDER = (
    ("memory", "errors", "bits", "spans", "options", "elf", "reach", "wording"),
    ("layout",),
    ("files", "preload", "locks", "stats", "chance", "guards", "dialect", "control"),
    ("figures", "variants"),
    ("allocators", "layers"),
    ("allocator",),
    ("describe", "libc", "traces"),
    ("machine", "native", "live"),
    ("collections",),
    ("programs",),
    ("conformance", "html"),
    ("lab",),
    ("report",),
    ("maps", "pictures"),
    ("advise", "grade", "stepper"),
    ("api",),
    ("debugger",),
    ("cli",),
    ("__init__", "__main__"),
)
RUNG = {package: rung for rung, packages in enumerate(LADDER) for package in packages}
NEVER = {
    ("machine", "allocators"): "an allocator is handed to a world",
    ("native", "allocators"): "an allocator is handed to a world",
}
# What `traced` records are numbers of a module that imports layout alone. An interface is written over a stack.
EXCEPTIONS = {("layers", "heapwright.traces.raw"), ("allocators", "heapwright.layers")}
COMPILER = ("numba", "llvmlite")


def problems(root: Path) -> list[str]:
    package = root / "src" / "heapwright"
    found, graph = [], dict[str, set[str]]()
    for path in sorted(package.rglob("*.py")):
        importer = path.relative_to(package).parts[0].removesuffix(".py")
        imports = sorted(set(imports_of(path, package)))
        name = ".".join(path.relative_to(package.parent).with_suffix("").parts).removesuffix(".__init__")
        graph[name] = {module for _, module in imports}
        for line, module in imports:
            reason = refusal(importer, module)
            if reason:
                found.append(f"{path.relative_to(root)}:{line}: {importer} imports {module}: {reason}")
    return found + circles(graph)


def circles(graph: dict[str, set[str]]) -> list[str]:
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return [f"a circle: {' is imported by '.join(error.args[1])}"]
    return []


def imports_of(path: Path, package: Path) -> Iterator[tuple[int, str]]:
    """Each module that a file imports, anywhere in it, with the line."""
    for node in ast.walk(ast.parse(path.read_text(), str(path))):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            if node.level:
                yield node.lineno, "." * node.level + (node.module or "")
            for alias in node.names if not node.level else ():
                yield node.lineno, whole_name(package, node.module or "", alias.name)


def whole_name(package: Path, module: str, name: str) -> str:
    """`from heapwright.traces import raw` imports heapwright.traces.raw."""
    folder = package.joinpath(*module.split(".")[1:])
    is_module = (folder / name).is_dir() or (folder / f"{name}.py").is_file()
    return f"{module}.{name}" if module.startswith("heapwright") and is_module else module


def refusal(importer: str, module: str) -> str:
    """Why this import is wrong; "" if it is right."""
    top, *rest = module.split(".")
    if module.startswith("."):
        return "name the whole module"
    if top in COMPILER:
        return "" if importer == "native" else "only native knows the compiler"
    if top != "heapwright" or not rest or rest[0] == importer or (importer, module) in EXCEPTIONS:
        return ""
    if importer not in RUNG or rest[0] not in RUNG:
        return "one of them is not in the ladder of tools/check_imports.py"
    return NEVER.get((importer, rest[0]), "" if RUNG[rest[0]] < RUNG[importer] else "that is not above it")


if __name__ == "__main__":
    sys.exit("\n".join(problems(Path(__file__).resolve().parent.parent)) or 0)

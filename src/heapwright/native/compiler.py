"""Functions to one object file: Numba types them, LLVM joins and optimises them as a whole.

What is not public in Numba, and must be looked at with each of its releases: a compiled function's `fndesc` and
`library`, its calling convention, `int32 f(result *, trouble **, arguments...)`, the code library that
`heapwright.native.lean` puts in place of Numba's own, and, in the modules that give structs and memory their meaning,
what they take from `numba.core`: data models, casts, attribute templates and `cgutils`.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from types import FunctionType
from typing import NamedTuple

import numba
from llvmlite import binding as llvm
from numba import njit, types
from numba.core.errors import NumbaError

from heapwright.native import (
    cxx,
    intrinsics,  # noqa: F401  gives memory and bits their meaning
)
from heapwright.native.lean import LeanLibrary, modules_of
from heapwright.native.portable import portable
from heapwright.native.shell import shell_text
from heapwright.native.slow_paths import call_by_value, keep_apart

OPTIONS = {
    "nogil": True,
    "error_model": "numpy",
    "no_cpython_wrapper": True,
    "no_cfunc_wrapper": True,
    "_nrt": False,
}
CPU = "x86-64-v2"


class Export(NamedTuple):
    """A C function to offer: its name, the function of numbers behind it, and whether it answers."""

    name: str
    function: FunctionType
    arity: int
    returns: bool = True


class CompileError(Exception):
    """A function that does not compile; its text names the allocator's line and says what to do."""


class Unit(NamedTuple):
    """What goes into one library: C functions, other names for them, the heap's words, what not to inline."""

    exports: tuple[Export, ...]
    aliases: dict[str, str]
    heap_bytes: int
    slow_paths: frozenset[str]
    is_heap: bool = True  # else it does one job when it is loaded, and ends the process


def compile_unit(unit: Unit) -> llvm.ModuleRef:
    """One optimised LLVM module that holds the unit's exports and nothing else that is visible."""
    shell, texts = [shell_text(unit.heap_bytes, unit.is_heap)], {}
    for export in unit.exports:
        mangled, library = lower(export)
        shell.append(face_text(export, mangled))
        texts.update(dict.fromkeys(modules_of(library)))
    shell += [f"@{alias} = alias ptr, ptr @{name}" for alias, name in unit.aliases.items()]
    module = llvm.parse_assembly("\n".join(shell))
    for text in texts:
        module.link_in(llvm.parse_assembly(mergeable(call_by_value(text, unit.slow_paths))))
    hide(module, {"dlopen", *cxx.NAMES, *unit.aliases, *(export.name for export in unit.exports)})
    keep_apart(module, unit.slow_paths)
    module.verify()
    optimise(module)
    return module


def object_of(module: llvm.ModuleRef) -> bytes:
    return target_machine().emit_object(module)


def assembly_of(module: llvm.ModuleRef) -> str:
    return target_machine().emit_assembly(module)


def lower(export: Export) -> tuple[str, LeanLibrary]:
    """The mangled name of one function, and its LLVM code with that of all that it calls."""
    kind = (types.int64 if export.returns else types.void)(*[types.int64] * export.arity)
    try:
        compiled = njit(kind, **OPTIONS)(portable(export.function))
    except NumbaError as error:
        raise CompileError(explain(error)) from error
    [overload] = compiled.overloads.values()
    return overload.fndesc.llvm_func_name, overload.library


MACHINERY = (os.path.dirname(__file__), os.path.dirname(numba.__file__))  # no line of theirs is what a user can mend


def explain(error: NumbaError) -> str:
    """The innermost reason of Numba's report, at the line of source that it is about."""
    text = re.sub(r"\x1b\[[0-9;]*m", "", str(error))
    inner = text.split("raised from")[0]
    inner = inner[inner.rfind("Failed in nopython mode pipeline") :]
    lines = [line.strip() for line in inner.splitlines()[1:]]
    reason = next((line for line in lines if line and not line.startswith("During:")), str(error).splitlines()[0])
    places = re.findall(r"at (\S+\.py) \((\d+)\)|File \"([^\"]+)\", line (\d+)", inner)
    found = [(os.path.abspath(a or c), b or d) for a, b, c, d in places]  # Numba may say it relative to where we are
    outside = (each for each in found if not each[0].startswith(MACHINERY))
    path, line = next(outside, found[0] if found else ("the allocator", "?"))
    return f"{path}:{line}: {reason}"


# --- C names


def face_text(export: Export, mangled: str) -> str:
    """A C function that calls a compiled one by Numba's convention."""
    names = [f"i64 %a{i}" for i in range(export.arity)]
    result = "i64" if export.returns else "void"
    answer = "%word = load i64, ptr %result\n  ret i64 %word" if export.returns else "ret void"
    return f"""
declare i32 @{mangled}({", ".join(["ptr", "ptr"] + ["i64"] * export.arity)})
define {result} @{export.name}({", ".join(names)}) nounwind "no-builtins" {{
  %result = alloca i64
  %trouble = alloca ptr
  %status = call i32 @{mangled}({", ".join(["ptr %result", "ptr %trouble", *names])})
  {answer}
}}
"""


# --- one module


def mergeable(text: str) -> str:
    """Definitions that may meet their like from another function's text, declared by its own shell or not."""
    return re.sub(r"^define (?!linkonce_odr|internal)", "define linkonce_odr ", text, flags=re.M)


def hide(module: llvm.ModuleRef, visible: Iterable[str]) -> None:
    for thing in [*module.functions, *module.global_variables]:
        if not thing.is_declaration and thing.name not in visible and not thing.name.startswith("llvm."):
            thing.linkage = llvm.Linkage.internal


def target_machine() -> llvm.TargetMachine:
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    target = llvm.Target.from_triple(llvm.get_process_triple())
    return target.create_target_machine(cpu=CPU, opt=3, reloc="pic", codemodel="default")


def optimise(module: llvm.ModuleRef) -> None:
    options = llvm.create_pipeline_tuning_options(speed_level=3)
    options.loop_unrolling = False
    builder = llvm.create_pass_builder(target_machine(), options)
    builder.getModulePassManager().run(module, builder)

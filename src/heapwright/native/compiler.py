"""Compile functions to one object file: Numba types them, LLVM links and optimises them as a whole.

This relies on parts of Numba that are not public and must be checked with each of its releases: the `fndesc` and
`library` of a compiled function; its calling convention, `int32 f(result *, trouble **, arguments...)`; the code
library that `heapwright.native.lean` replaces; and what the modules for structs and memory take from `numba.core`: data
models, casts, attribute templates and `cgutils`.
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

from heapwright.bits import MAX_WORD
from heapwright.native import (
    cxx,
    exports,
    intrinsics,  # noqa: F401  defines memory and bits in compiled code
)
from heapwright.native.lean import LeanLibrary, modules_of
from heapwright.native.portable import portable
from heapwright.native.runtime.kernel import THREAD_WORDS
from heapwright.native.shell import CARD, FAULTS, NO_FAULTS, shell_text
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
    """A C function to export: its name, the compiled function behind it, and whether it returns a value."""

    name: str
    function: FunctionType
    arity: int
    returns: bool = True


class CompileError(Exception):
    """A function that does not compile. The text names the allocator's line and says what to do."""


class Unit(NamedTuple):
    """The contents of one library: C functions, their other names, the heap's words, functions not to inline."""

    exports: tuple[Export, ...]
    aliases: dict[str, str]
    heap_bytes: int
    slow_paths: frozenset[str]
    thread_words: int = THREAD_WORDS
    is_heap: bool = True  # otherwise it does one job when it is loaded, and ends the process
    name: str = ""  # of the allocator, for its reports
    spec: str = ""  # of the stack, for the library's card
    handles_faults: bool = False  # it has pages that it protects, and a handler of SIGSEGV
    expects_sizes: bool = False  # it checks the size that a caller says of a block that it frees
    has_frames: bool = False  # all functions keep a frame pointer, so that the library finds who called it
    guards_copies: bool = False  # it exports memcpy and its relatives, which its own code must not call


def compile_unit(unit: Unit) -> llvm.ModuleRef:
    """One optimised LLVM module in which only the unit's exports are visible."""
    words = unit.heap_bytes, unit.thread_words
    shell, texts = [shell_text(*words, unit.is_heap, unit.name, unit.spec, unit.expects_sizes)], {}
    for export in unit.exports:
        mangled, library = lower(export)
        shell.append(face_text(export, mangled))
        texts.update(dict.fromkeys(modules_of(library)))
    shell.append(FAULTS if unit.handles_faults else NO_FAULTS)
    shell += [f"@{alias} = alias ptr, ptr @{name}" for alias, name in unit.aliases.items()]
    frames = with_frames if unit.has_frames else str
    module = llvm.parse_assembly(frames("\n".join(shell)))
    for text in texts:
        module.link_in(llvm.parse_assembly(frames(mergeable(call_by_value(text, unit.slow_paths)))))
    hide(module, {"dlopen", CARD, *cxx.NAMES, *unit.aliases, *(export.name for export in unit.exports)})
    keep_apart(module, unit.slow_paths)
    if unit.has_frames:
        bind_at_once(module)
    module.verify()
    optimise(module)
    return llvm.parse_assembly(with_own_copies(str(module))) if unit.guards_copies else module


def object_of(module: llvm.ModuleRef) -> bytes:
    return target_machine().emit_object(module)


def assembly_of(module: llvm.ModuleRef) -> str:
    return target_machine().emit_assembly(module)


def lower(export: Export) -> tuple[str, LeanLibrary]:
    """The mangled name of a function, and its LLVM code with that of everything it calls."""
    kind = (types.int64 if export.returns else types.void)(*[types.int64] * export.arity)
    try:
        compiled = njit(kind, **OPTIONS)(portable(export.function))
    except NumbaError as error:
        raise CompileError(explain(error)) from error
    [overload] = compiled.overloads.values()
    return overload.fndesc.llvm_func_name, overload.library


# What a library that guards copies calls instead of llvm.memmove and llvm.memset. Its exports declare what these call.
OWN_COPIES = f"""
define internal void @own.copy(ptr %target, ptr %source, i64 %size, i1 %ignored) {{
  %to = ptrtoint ptr %target to i64
  %from = ptrtoint ptr %source to i64
  %copied = call i64 @__memmove_chk(i64 %to, i64 %from, i64 %size, i64 {MAX_WORD})
  ret void
}}
define internal void @own.fill(ptr %target, i8 %byte, i64 %size, i1 %ignored) {{
  %to = ptrtoint ptr %target to i64
  %number = zext i8 %byte to i32
  %filled = call i64 @__memset_chk(i64 %to, i32 %number, i64 %size, i64 {MAX_WORD})
  ret void
}}
"""

MACHINERY = (os.path.dirname(__file__), os.path.dirname(numba.__file__))  # users cannot correct lines in these folders


def explain(error: NumbaError) -> str:
    """The innermost reason in Numba's report, with the source line that it is about."""
    text = re.sub(r"\x1b\[[0-9;]*m", "", str(error))
    inner = text.split("raised from")[0]
    inner = inner[inner.rfind("Failed in nopython mode pipeline") :]
    lines = [line.strip() for line in inner.splitlines()[1:]]
    reason = next((line for line in lines if line and not line.startswith("During:")), str(error).splitlines()[0])
    places = re.findall(r"at (\S+\.py) \((\d+)\)|File \"([^\"]+)\", line (\d+)", inner)
    found = [(os.path.abspath(a or c), b or d) for a, b, c, d in places]  # Numba may give relative paths
    outside = (each for each in found if not each[0].startswith(MACHINERY))
    path, line = next(outside, found[0] if found else ("the allocator", "?"))
    return f"{path}:{line}: {reason}"


# --- C names


def face_text(export: Export, mangled: str) -> str:
    """The LLVM text of a C function that calls a compiled one by Numba's convention.

    A function with a name of the C library's is never inlined. A call of that name, even from this library, must reach
    the process's function of that name, which may belong to another library.
    """
    inlining = "" if export.name.startswith(exports.PREFIX) else "noinline"
    names = [f"i64 %a{i}" for i in range(export.arity)]
    result = "i64" if export.returns else "void"
    answer = "%word = load i64, ptr %result\n  ret i64 %word" if export.returns else "ret void"
    return f"""
declare i32 @{mangled}({", ".join(["ptr", "ptr"] + ["i64"] * export.arity)})
define {result} @{export.name}({", ".join(names)}) nounwind {inlining} "no-builtins" {{
  %result = alloca i64
  %trouble = alloca ptr
  %status = call i32 @{mangled}({", ".join(["ptr %result", "ptr %trouble", *names])})
  {answer}
}}
"""


# --- one module


def mergeable(text: str) -> str:
    """The text with definitions made mergeable, because the text of another function may contain the same ones."""
    return re.sub(r"^define (?!linkonce_odr|internal)", "define linkonce_odr ", text, flags=re.M)


def with_frames(text: str) -> str:
    """The text with functions that keep a frame pointer if they call another one, except as their last step.

    A jump table in an unwinder is mispredicted at each frame.
    """
    return re.sub(r"^(define .*?)( ?\{)$", r'\1 "frame-pointer"="non-leaf" "no-jump-tables"="true"\2', text, flags=re.M)


def bind_at_once(module: llvm.ModuleRef) -> None:
    """Call other libraries' functions without a step through the linkage table: libraries are linked with -z now.

    Only the recorder does, for each request goes through it to the C library's malloc. In an allocator's library, the
    linkage table shows what is called inside malloc.
    """
    for function in module.functions:
        if function.is_declaration and not function.name.startswith("llvm."):
            function.add_function_attribute("nonlazybind")


def with_own_copies(text: str) -> str:
    """The text of an optimised module that copies and fills bytes by the C library's functions for fortified programs.

    LLVM would call memmove and memset by these names, which are here those of functions that look at blocks.
    """
    copies = re.sub(r"@llvm\.(memcpy|memmove)\.p0\.p0\.i64\b", "@own.copy", text)
    fills = re.sub(r"@llvm\.memset\.p0\.i64\b", "@own.fill", copies)
    kept = re.sub(r"^declare void @own\..*\n", "", fills, flags=re.M)
    return kept + OWN_COPIES


def hide(module: llvm.ModuleRef, visible: Iterable[str]) -> None:
    for thing in [*module.functions, *module.global_variables]:
        if not thing.is_declaration and thing.name not in visible and not thing.name.startswith("llvm."):
            thing.linkage = llvm.Linkage.internal


def target_machine() -> llvm.TargetMachine:
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    llvm.initialize_native_asmparser()  # for the assembler text of `stopping`
    target = llvm.Target.from_triple(llvm.get_process_triple())
    return target.create_target_machine(cpu=CPU, opt=3, reloc="pic", codemodel="default")


def optimise(module: llvm.ModuleRef) -> None:
    options = llvm.create_pipeline_tuning_options(speed_level=3)
    options.loop_unrolling = False
    builder = llvm.create_pass_builder(target_machine(), options)
    builder.getModulePassManager().run(module, builder)

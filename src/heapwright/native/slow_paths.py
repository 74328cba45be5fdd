"""Keep rarely called functions out of an allocator's fast path: they are never inlined, and called as C calls.

The step of the recorder that each call takes is inlined everywhere.

By Numba's convention, a function stores its result through a pointer and returns a status. A caller of a few
instructions would need a stack frame for that. So each rare function becomes three:

    NAME.body    the function that Numba made, inlined into NAME.value
    NAME.value   the function that is called: it returns the result itself and is never inlined
    NAME         the function that callers know, inlined into them: stores what NAME.value returns
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from llvmlite import binding as llvm

from heapwright.native.runtime import frames, stops
from heapwright.native.runtime.kernel import SLOW_PATHS

# In every library. The kernel's names are qualified, because an allocator may have a fast function of the same name.
FRAMES = (f"frames.{name}" for name in frames.SLOW_PATHS)
STOPS = (f"stops.{name}" for name in stops.SLOW_PATHS)
KERNEL = (*(f"kernel.{name}" for name in SLOW_PATHS), *FRAMES, *STOPS, "signals.protect", "callers.note_caller")
PHASES = ("phases.is_on_anew", "phases.pass_over")
RECORDS = ("recorder.next_number", "sites.record_carefully", "sites.site_of_request", "sites.open_once")
STACKS = ("walk.learn", "python.describe", "interning.add")
REPORTS = ("lines.write_number", "report.print_size", "report.print_total", "report.print_space", "report.add_part")
RARE = (*KERNEL, *PHASES, *RECORDS, *STACKS, *REPORTS, "out_of_memory", "invalid", "wait_for", "walk", "misuse.report")
FAST = ("sites.record", "recorder.append")  # inlined into each call that is recorded
ENTRY = "13memory_record"  # in the name of what calls them: a method of memory
HEAD = r"(?P<head>ptr [^,]*%retptr, ptr [^,]*%excinfo)"
DEFINITION = re.compile(rf"^define i32 @(?P<name>\S+?)\({HEAD}(?P<rest>.*?)\) ", re.M)
RESULT = re.compile(r"^ *store (i64|i8|ptr|\{[^}]*\}) .*, ptr %retptr,", re.M)
SHIM = """
define linkonce_odr {result} @{name}.value({parameters}) noinline {{
  %place = alloca {result}
  %trouble = alloca ptr
  %status = call i32 @{name}.body({arguments})
  %result = load {result}, ptr %place
  ret {result} %result
}}
define linkonce_odr i32 @{name}({head}{rest}) alwaysinline {{
  %result = call {result} @{name}.value({parameters})
  store {result} %result, ptr %retptr
  ret i32 0
}}
"""


def matcher(names: Iterable[str]) -> re.Pattern[str]:
    """A pattern that finds these functions, with or without their module, in mangled names."""
    return re.compile(rf"\D({'|'.join(map(mangled, names)) or '(?!)'})B\d+v\d+B")


def mangled(name: str) -> str:
    """A dotted name in mangled form: each part follows its length."""
    return "".join(f"{len(part)}{part}" for part in name.split("."))


def call_by_value(text: str, slow_paths: Iterable[str]) -> str:
    """The LLVM text of a function, split into three functions if it is rare."""
    found = DEFINITION.search(text)
    results = set(RESULT.findall(text))
    if not found or len(results) != 1 or not matcher((*slow_paths, *RARE)).search(found["name"]):
        return text
    parameters = found["rest"].removeprefix(", ")
    arguments = ", ".join(filter(None, ("ptr %place", "ptr %trouble", parameters)))
    shim = SHIM.format(**found.groupdict(), result=results.pop(), parameters=parameters, arguments=arguments)
    return text.replace(f"@{found['name']}(", f"@{found['name']}.body(", 1) + shim


def keep_apart(module: llvm.ModuleRef, slow_paths: frozenset[str]) -> None:
    """Never inline rare functions. Inline all others, if the allocator lists its slow paths."""
    is_rare = matcher((*slow_paths, *RARE)).search
    is_slow = matcher(slow_paths).search
    is_fast = matcher(FAST).search
    defined = {function.name: function for function in module.functions if not function.is_declaration}
    for name, function in defined.items():
        is_apart = is_rare(name) and not name.endswith(".body") and f"{name}.value" not in defined
        if is_apart:
            function.add_function_attribute("noinline")
        elif is_fast(name) or ENTRY in name or ("heapwright" in name and (slow_paths or name.endswith(".body"))):
            function.add_function_attribute("alwaysinline")
        if is_apart and is_slow(name):
            function.add_function_attribute("cold")

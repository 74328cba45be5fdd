"""What an allocator rarely calls stays out of its fast path: never inlined, and called as C calls.

By Numba's convention a function stores its result through a pointer and returns a status. A caller that is
otherwise a handful of instructions would need a stack frame for it. So each rare function becomes three:

    NAME.body    as Numba made it, inlined into
    NAME.value   which is called: it returns the result as such, and is never inlined
    NAME         as its callers know it, inlined into them: stores what NAME.value returns
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from llvmlite import binding as llvm

from heapwright.native.runtime.kernel import SLOW_PATHS

RARE = (*SLOW_PATHS, "out_of_memory", "invalid", "wait_for", "walk")  # of every library
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
    """Finds a function's name in its mangled form: after its length, before its version."""
    return re.compile(rf"\D({'|'.join(f'{len(name)}{name}' for name in names) or '(?!)'})B\d+v\d+B")


def call_by_value(text: str, slow_paths: Iterable[str]) -> str:
    """The LLVM text of a function, split in three if it is rare."""
    found = DEFINITION.search(text)
    results = set(RESULT.findall(text))
    if not found or len(results) != 1 or not matcher((*slow_paths, *RARE)).search(found["name"]):
        return text
    parameters = found["rest"].removeprefix(", ")
    arguments = ", ".join(filter(None, ("ptr %place", "ptr %trouble", parameters)))
    shim = SHIM.format(**found.groupdict(), result=results.pop(), parameters=parameters, arguments=arguments)
    return text.replace(f"@{found['name']}(", f"@{found['name']}.body(", 1) + shim


def keep_apart(module: llvm.ModuleRef, slow_paths: frozenset[str]) -> None:
    """Never inline what is rare; inline all else, if the allocator says what is slow."""
    is_rare = matcher((*slow_paths, *RARE)).search
    is_slow = matcher(slow_paths).search
    defined = {function.name: function for function in module.functions if not function.is_declaration}
    for name, function in defined.items():
        is_apart = is_rare(name) and not name.endswith(".body") and f"{name}.value" not in defined
        if is_apart:
            function.add_function_attribute("noinline")
        elif "heapwright" in name and (slow_paths or name.endswith(".body")):
            function.add_function_attribute("alwaysinline")
        if is_apart and is_slow(name):
            function.add_function_attribute("cold")

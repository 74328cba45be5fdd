"""Numba as a front end only: each function is typed and lowered once, but neither optimised nor made executable.

Numba links everything that a function calls into the function's module, and optimises and emits it, so that it can run
at once. That is quadratic work, and it is wasted here, because all functions are linked, optimised and emitted as one
module later. The library class below leaves it out. The class that it replaces is private to Numba, so a process that
uses it does nothing else (`native.build`).
"""

from __future__ import annotations

from collections.abc import Iterator

from numba.core.codegen import JITCodeLibrary
from numba.core.registry import cpu_target


class LeanLibrary(JITCodeLibrary):
    """A function's own LLVM module and the libraries that it calls."""

    def _optimize_functions(self, ll_module):
        ll_module.data_layout = self._codegen._data_layout

    def finalize(self):
        self._finalized = True

    def get_pointer_to_function(self, name):
        return 0


def enter() -> None:
    """Switch Numba over: from now on, it compiles nothing executable in this process."""
    codegen = cpu_target.target_context.codegen()
    codegen._library_class = LeanLibrary
    codegen.set_env = lambda name, environment: None


def modules_of(library: LeanLibrary) -> Iterator[str]:
    """The LLVM texts of a function and of everything it calls, each once."""
    seen, waiting = set(), [library]
    while waiting:
        each = waiting.pop()
        if each not in seen:
            seen.add(each)
            waiting += each._linking_libraries
            yield str(each._final_module)

"""Numba as a front end only: each function is typed and lowered once, and neither optimised nor made executable.

Numba links into every function's module all that it calls, optimises and emits it, so that it can be run at
once: quadratic work for what is linked, optimised and emitted here as one module. A library class that leaves
this out is all it takes; it is private to Numba, so a process that uses it does nothing else (`native.build`).
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
    """From now on, Numba compiles nothing in this process that could be run."""
    codegen = cpu_target.target_context.codegen()
    codegen._library_class = LeanLibrary
    codegen.set_env = lambda name, environment: None


def modules_of(library: LeanLibrary) -> Iterator[str]:
    """The LLVM texts of a function and of all that it calls, each once."""
    seen, waiting = set(), [library]
    while waiting:
        each = waiting.pop()
        if each not in seen:
            seen.add(each)
            waiting += each._linking_libraries
            yield str(each._final_module)

"""`python -m heapwright.native.build KIND SPEC OUTPUT [object|llvm|asm]`: compile one library's code.

A process of its own, for `heapwright.native.lean` leaves Numba unfit for anything else. KIND is heap, recorder,
replayer or workloads. What does not compile is one line on standard error, and status 2.
"""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from heapwright.allocator import AllocatorError, load
from heapwright.native import compiler, face, lean
from heapwright.native.workloads_unit import workloads_unit

UNITS: dict[str, Callable[[str], Any]] = {
    "heap": lambda spec: face.unit_of(load(spec)),
    "recorder": lambda spec: face.recorder_unit(load(spec)),
    "replayer": lambda spec: face.replayer_unit(),
    "workloads": lambda spec: workloads_unit(),
}
EMIT = {
    "object": compiler.object_of,
    "llvm": lambda module: str(module).encode(),
    "asm": lambda module: compiler.assembly_of(module).encode(),
}


def main(kind: str, spec: str, output: str, form: str = "object") -> None:
    gc.disable()  # nothing here lives long
    lean.enter()
    module = compiler.compile_unit(UNITS[kind](spec))
    Path(output).write_bytes(EMIT[form](module))


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except (compiler.CompileError, AllocatorError, OSError) as error:
        sys.exit(f"{error}")

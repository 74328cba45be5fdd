"""`python -m heapwright.native.build KIND SPEC OUTPUT [object|llvm|asm]`: compile one library's code.

It runs in its own process, because `heapwright.native.lean` leaves Numba unfit for anything else. KIND is heap,
recorder, counter, replayer, addresses, curves, holder, causal, workloads or functions. A compile error is one line on
standard error, with status 2.
"""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from heapwright.allocator import load
from heapwright.errors import AllocatorError
from heapwright.native import compiler, face, functions, lean
from heapwright.native.causal_unit import causal_unit
from heapwright.native.curves_unit import curves_unit
from heapwright.native.workloads_unit import workloads_unit

UNITS: dict[str, Callable[[str], Any]] = {
    "heap": lambda spec: face.unit_of(load(spec)),
    "recorder": lambda spec: face.recorder_unit(load(spec)),
    "counter": lambda spec: face.counter_unit(load(spec)),
    "replayer": lambda spec: face.replayer_unit(),
    "addresses": lambda spec: face.address_logger_unit(),
    "curves": lambda spec: curves_unit(load(spec) if spec else None),
    "holder": lambda spec: face.holder_unit(),
    "causal": lambda spec: causal_unit(),
    "workloads": lambda spec: workloads_unit(),
    "functions": functions.functions_unit,
}
EMIT = {
    "object": compiler.object_of,
    "llvm": lambda module: str(module).encode(),
    "asm": lambda module: compiler.assembly_of(module).encode(),
}


def main(kind: str, spec: str, output: str, form: str = "object") -> None:
    gc.disable()  # the process is short-lived
    lean.enter()
    module = compiler.compile_unit(UNITS[kind](spec))
    Path(output).write_bytes(EMIT[form](module))


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except (compiler.CompileError, AllocatorError, OSError) as error:
        sys.exit(f"{error}")

"""The machine: a simulated xv6 process in which every load and store of an allocator is checked and can be seen."""

from heapwright.machine.blocks import Block
from heapwright.machine.fault import BrokenInvariant, Fault, Kind
from heapwright.machine.frames import KernelPanic
from heapwright.machine.heap import Heap, start
from heapwright.machine.kernel import DEFECTS, SEMANTICS, Kernel
from heapwright.machine.process import Process

__all__ = [
    "DEFECTS",
    "SEMANTICS",
    "Block",
    "BrokenInvariant",
    "Fault",
    "Heap",
    "Kernel",
    "KernelPanic",
    "Kind",
    "Process",
    "start",
]

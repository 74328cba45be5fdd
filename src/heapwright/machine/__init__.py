"""The machine: a simulated xv6 process that checks every load and store of an allocator and can show it."""

from heapwright.machine.blocks import Block
from heapwright.machine.fault import BrokenInvariant, Fault, Kind
from heapwright.machine.frames import KernelPanic
from heapwright.machine.heap import Heap, start
from heapwright.machine.kernel import Kernel
from heapwright.machine.process import Process
from heapwright.machine.xv6rs import DEFECTS, SEMANTICS, boot

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
    "boot",
    "start",
]

"""The exports of a library that heapwright itself calls, with their numbers of arguments.

`alloc` is exported as the C function `heapwright_alloc`. All arguments and results are words. `heapwright.native.heap`
calls these exports, and so do the library's own constructor, destructor and misuse reports.
"""

from __future__ import annotations

STACK = {"alloc": 2, "alloc_zeroed": 2, "dealloc": 3, "realloc": 4, "usable_size": 1, "trim": 1}
REPORT = {"stats": 1, "leave_record": 0}
LIFECYCLE = {
    "fork_prepare": 0,
    "fork_parent": 0,
    "fork_child": 0,
    "thread_exit": 1,
    "release_held": 0,
    "begin": 2,
    "end": 0,
}
FAULTS = {"on_fault": 3, "explain_misuse": 1}  # of a stack that has protected pages: the handler of SIGSEGV
KERNEL = {"limit": 1, "set_clock": 1, "set_chance": 1}
SILENT = (  # they return nothing
    *("dealloc", "fork_prepare", "fork_parent", "fork_child", "thread_exit"),
)
PREFIX = "heapwright_"
RECORDING = PREFIX + "recording_"  # the recorder's orders: `heapwright.native.runtime.phases`

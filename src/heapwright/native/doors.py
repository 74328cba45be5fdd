"""The doors of a library: functions that heapwright itself calls in it, with their numbers of arguments.

`alloc` is the C function `heapwright_alloc`; all arguments and answers are words. `heapwright.native.heap` goes through
these doors, and so do the library's own constructor and destructor.
"""

from __future__ import annotations

STACK = {"alloc": 2, "alloc_zeroed": 2, "dealloc": 3, "realloc": 4, "usable_size": 1, "trim": 0}
REPORT = {"stats": 1, "leave_record": 0}
LIFECYCLE = {"fork_prepare": 0, "fork_parent": 0, "fork_child": 0, "thread_exit": 1, "begin": 2, "end": 0}
KERNEL = {"limit": 1}
SILENT = ("dealloc", "fork_prepare", "fork_parent", "fork_child", "thread_exit")  # they answer nothing
PREFIX = "heapwright_"

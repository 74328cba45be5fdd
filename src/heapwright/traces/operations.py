"""The numbers of the calls in a trace: `Events.op`, and a part of a recording's `Record.op`."""

ALLOC, ALLOC_ZEROED, REALLOC, DEALLOC, THREAD_EXIT = 1, 2, 3, 4, 5

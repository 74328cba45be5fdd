"""Call stacks, taken inside malloc: of native frames and of Python's.

    encoded     numbers in memory, as DWARF encodes them
    tables      unwind tables (.eh_frame_hdr, .eh_frame): from a code address to its rule
    rules       a rule in one word: where the caller's frame is
    modules     which module a code address belongs to
    bounds      which memory of a stack can be read
    walk        the frames of a stack, from the innermost on
    trail       what a stack shares with the thread's last one
    python      the frames of CPython's interpreter
    interning   numbers for stacks
    callers     the stack of one of the few requests that `guarded` keeps, step by step and without tables
    places      code addresses as text
    sites       the stack of a request, and its records

All are written in the dialect. None takes a lock of the C library, allocates, or makes a system call on the way.
"""

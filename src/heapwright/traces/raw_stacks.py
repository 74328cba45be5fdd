"""Call stacks in a raw recording: records among those of calls, with other values of `op` (`heapwright.traces.raw`).

    op      site                block           old          size      log2_align
    STACK   number of a stack   its value       its parent
    MODULE  number of a module  its start       its bias     bytes
    CODE    number of a code    its first line
    TEXT    number of a module  offset << 32    8 bytes of   8 more    what it is
            or code             | length        the text

A stack is its innermost frame and the stack of its caller, `parent`; stack 0 has no frames. The value says what the
frame is, in a number of 64 bits:

    CUT_FRAME, LOST_FRAME    callers that were not kept, as there are too many; that are not known
    bit 62 set               Python: the number of a code in bits 24 to 61, the offset of an instruction below
    a number of a module     in bits 48 to 60; the return address, minus the module's bias, below
    else                     a return address that is in no module

A module's bias is the difference between an address in memory and in its file. A text is cut into parts of 16 bytes,
and the last one is padded with zeros. It is a module's PATH or BUILD_ID, or a code's CODE_NAME (qualified), FILE_NAME
or LINE_TABLE. The first two of a code have 1 to 4 bytes for each character; their number is added to the kind.

Each process gives its own numbers, from 1. A forked child continues its parent's: a number that no record of its own
explains was explained by its parent before the fork. A record is written before its number is used, but maybe by
another thread.
"""

from __future__ import annotations

STACK, MODULE, CODE, TEXT = 16, 17, 18, 19
PATH, BUILD_ID, CODE_NAME, FILE_NAME, LINE_TABLE = 1, 2, 8, 16, 32
CUT_FRAME, LOST_FRAME = 1, 2
PYTHON_FRAME = 1 << 62
CODE_SHIFT, MODULE_SHIFT = 24, 48
MAX_DEPTH, USUAL_DEPTH = 256, 64
PIECE, MAX_TEXT = 16, 1 << 20  # bytes of text: in a record, in all
VARIABLE = "HEAPWRIGHT_CALL_SITES"  # in a program's environment: the depth

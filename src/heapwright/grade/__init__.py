"""Grading of a stranger's allocator: it runs in a sandbox, and this process judges it from outside.

        grader                                            sandbox (bubblewrap, seccomp)
    traces, clock, score  -- a request, or a batch -->   driver.c + the submission
       checks results     <-- addresses --------------      |
             |                                              |
             +------------ the heap's region ---------------+   one memfd, mapped by both

The submission can forge whatever its own process says or holds. So the grader takes nothing from it but addresses. It
fills the blocks and reads them back itself, takes the extent of the heap from the region's pages, and the time from the
kernel's clock of the process (docs/decisions/0022).
"""

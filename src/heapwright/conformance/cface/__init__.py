"""Does a malloc library keep the promises of C, C++, POSIX and the C library?

The checks are small C and C++ programs that call malloc and its relatives and
nothing of heapwright, so they judge any library that LD_PRELOAD can load::

    from pathlib import Path
    from heapwright.conformance.cface import Suite

    suite = Suite(Path("build/cface"))
    for outcome in suite.run_all(Path("libmy.so")):
        print(outcome.check.id, outcome.verdict.value, outcome.reason)

Or at a prompt: ``python -m heapwright.conformance.cface libmy.so``.
"""

from heapwright.conformance.cface.driver import DEFAULT_TIMEOUT, RowCounts, RowResult, Suite
from heapwright.conformance.cface.table import Check, checks
from heapwright.conformance.verdict import Verdict

__all__ = ["DEFAULT_TIMEOUT", "Check", "RowResult", "Suite", "RowCounts", "Verdict", "checks"]

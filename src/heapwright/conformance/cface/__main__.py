"""``python -m heapwright.conformance.cface [LIB.so]``: print one line for each check, then the count."""

import sys
from pathlib import Path

from heapwright.conformance.cface import RowCounts, RowResult, Suite
from heapwright.native.library import cache


def _line(outcome: RowResult) -> str:
    check, label = outcome.check, outcome.verdict.value
    marked = f"({label})" if check.informational else label
    return f"{check.row:>2} {check.id:<24} {marked:<15} {outcome.reason or check.requirement}"


def main(arguments: list[str]) -> int:
    if len(arguments) > 1 or any(not Path(name).is_file() for name in arguments):
        sys.stderr.write(f"{__doc__}\n")
        return 2
    library = Path(arguments[0]) if arguments else None
    outcomes = []
    for outcome in Suite(cache() / "cface").run_all(library):
        sys.stdout.write(_line(outcome) + "\n")
        sys.stdout.flush()
        outcomes.append(outcome)
    tally = RowCounts.of(outcomes)
    sys.stdout.write(f"{tally}\n")
    return 0 if tally.hold == tally.counted else 1


sys.exit(main(sys.argv[1:]))

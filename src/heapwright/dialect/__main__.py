"""`python -m heapwright.dialect FILE.py FOLDER/ ...`: print the violations of the dialect's rules."""

from __future__ import annotations

import sys
from pathlib import Path

from heapwright.dialect import lint


def main(arguments: list[str]) -> int:
    """Print the violations; return 1 if there is one that is not advice, 2 if a file cannot be read."""
    try:
        found = [violation for argument in arguments for path in files(Path(argument)) for violation in lint(path)]
    except (OSError, UnicodeDecodeError) as error:
        sys.stderr.write(f"heapwright.dialect: {error}\n")
        return 2
    sys.stdout.writelines(f"{violation}\n" for violation in found)
    return int(not all(violation.is_advice for violation in found)) if arguments else 2


def files(path: Path) -> list[Path]:
    """The modules of a folder, or the one file."""
    return sorted(path.glob("*.py")) if path.is_dir() else [path]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""What the command line refuses."""

from __future__ import annotations

import pytest


@pytest.fixture
def refused(heapwright):
    """Run what must be refused: status 2, one line on standard error, nothing else; the line."""

    def run(*arguments, **environment):
        done = heapwright(*arguments, **environment)
        assert done.returncode == 2, done.stderr
        assert "Traceback" not in done.stderr
        lines = done.stderr.strip().splitlines()
        assert len(lines) == 1, done.stderr
        return lines[0]

    return run

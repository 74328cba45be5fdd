"""Running the command line as a user does: a process, its output and its status."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest


@pytest.fixture
def heapwright():
    def run(*arguments, **environment):
        command = [sys.executable, "-m", "heapwright", *map(str, arguments)]
        return subprocess.run(
            command, capture_output=True, text=True, env={**os.environ, **environment}, timeout=110, check=False
        )

    return run


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

"""What the command line refuses."""

from __future__ import annotations

import shutil
import subprocess

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


@pytest.fixture(scope="session")
def compiled(tmp_path_factory):
    """Compile a C program; its path."""
    if not shutil.which("gcc"):
        pytest.skip("gcc is not installed")

    def make(source, *options):
        folder = tmp_path_factory.mktemp("program")
        (folder / "program.c").write_text(source)
        command = ["gcc", "-w", *options, "-o", folder / "program", folder / "program.c"]
        if subprocess.run(command, capture_output=True, check=False).returncode != 0:
            pytest.skip(f"gcc cannot compile with {' '.join(options)}")
        return folder / "program"

    return make

"""Programs to look at: started, driven by lines, and ended."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

import pytest


class Program:
    """A program that says a line when it is ready, and answers each line with one."""

    def __init__(self, command, **environment):
        self.process = subprocess.Popen(
            list(map(str, command)),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, **environment},
        )
        self.pid = self.process.pid
        self.first = self.process.stdout.readline()

    def ask(self, line):
        self.process.stdin.write(f"{line}\n")
        self.process.stdin.flush()
        return self.process.stdout.readline().strip()

    def end(self):
        self.process.kill()
        self.process.wait()
        self.process.stdin.close()
        self.process.stdout.close()


@pytest.fixture
def program():
    """Start programs that end with the test."""
    started = []

    def start(*command, **environment):
        started.append(Program(command, **environment))
        return started[-1]

    yield start
    for each in started:
        each.end()


@pytest.fixture
def python(program, root):
    """Start an example written in Python."""

    def start(name, interpreter=sys.executable, **environment):
        return program(interpreter, root / "examples" / "memory" / name, **environment)

    return start


@pytest.fixture
def compiled(tmp_path, root):
    """Compile an example, or a source of a test's own, in C or C++."""

    def make(name, text=None, *flags):
        compiler = "g++" if name.endswith(".cpp") else "gcc"
        if not shutil.which(compiler):
            pytest.skip(f"{compiler} is not installed")
        source = root / "examples" / "memory" / name
        if text is not None:
            source = tmp_path / name
            source.write_text(text)
        output = tmp_path / f"{source.stem}-program"
        subprocess.run([compiler, "-O1", "-o", output, source, *flags], check=True)
        return output

    return make

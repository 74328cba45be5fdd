"""A program in a terminal of its own: keys go in, and what its screen shows comes out."""

from __future__ import annotations

import os
import sys

import pexpect
import pyte

PATIENCE = 90  # seconds until a screen that does not show what it should is a failure
COLUMNS, ROWS = 150, 44


class Screen:
    """`heapwright` with arguments, in a pseudo-terminal."""

    def __init__(self, *arguments, cwd=None):
        environment = {**os.environ, "TERM": "xterm-256color", "COLUMNS": "", "TEXTUAL_ANIMATIONS": "none"}
        self.screen = pyte.Screen(COLUMNS, ROWS)
        self.stream = pyte.ByteStream(self.screen)
        self.child = pexpect.spawn(
            sys.executable, ["-m", "heapwright", *map(str, arguments)],
            env=environment, cwd=cwd, dimensions=(ROWS, COLUMNS), timeout=PATIENCE,
        )  # fmt: skip

    def press(self, *keys):
        for key in keys:
            self.child.send(KEYS.get(key, key))

    def wait_for(self, *texts):
        """Read until the screen shows all texts."""
        while missing := [text for text in texts if not any(text in line for line in self.screen.display)]:
            try:
                self.stream.feed(self.child.read_nonblocking(1 << 16, PATIENCE))
            except (pexpect.EOF, pexpect.TIMEOUT):
                raise AssertionError(
                    "\n".join([f"the screen does not show {missing}:", *self.screen.display])
                ) from None

    def end(self):
        """Wait for the end of the program; return its exit status and what it printed last."""
        rest = self.child.read()
        self.child.close()
        return self.child.exitstatus, rest.decode(errors="replace")


KEYS = {"right": "\x1b[C", "left": "\x1b[D", "down": "\x1b[B", "up": "\x1b[A", "enter": "\r", "end": "\x1b[F"}

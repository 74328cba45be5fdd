"""Whether bubblewrap works on this machine at all. If it does, a sandbox of `heapwright grade` must work, too."""

from __future__ import annotations

import shutil
import subprocess

import pytest

PLAIN = ["bwrap", "--unshare-all", "--ro-bind", "/", "/", "true"]


def need_bubblewrap():
    if not shutil.which("bwrap") or subprocess.run(PLAIN, capture_output=True, check=False).returncode != 0:
        pytest.skip("bubblewrap is not installed, or cannot make namespaces here")

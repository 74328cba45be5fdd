"""A heap that serves the test, with the requests that were made of it; and rustc, where it is installed."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from rust_programs import Requests

from heapwright import allocator
from heapwright.collections import serve
from heapwright.machine import start

MIN_RUST = 1, 95  # its HashMap is that of heapwright.collections
FLAGS = "--edition", "2021", "-C", "opt-level=0", "-C", "debug-assertions=off"  # no request is optimized away


@pytest.fixture(params=["kr", "linked_list"])
def heap(request):
    """Checked at the end, when all that the test held is gone."""
    heap = start(allocator.load(request.param))
    with serve(heap):
        yield heap
    heap.check()


@pytest.fixture
def runtime(heap):
    from heapwright.collections import running

    return running()


@pytest.fixture
def requests(runtime):
    requests = Requests()
    runtime.watch(requests)
    return requests


@pytest.fixture(scope="session")
def rust_driver(tmp_path_factory):
    """Run programs on Rust's collections; the driver is compiled once a session."""
    rustc = shutil.which("rustc")
    version = rustc and subprocess.run([rustc, "--version"], capture_output=True, text=True, check=False).stdout
    if not version or tuple(map(int, re.findall(r"\d+", version)[:2])) < MIN_RUST:
        pytest.skip(f"needs rustc {'.'.join(map(str, MIN_RUST))} or newer; there is {version or 'none'}")
    driver = tmp_path_factory.mktemp("rust") / "driver"
    source = Path(__file__).parent / "rust" / "driver.rs"
    subprocess.run([rustc, *FLAGS, source, "-o", driver], check=True, timeout=100)

    def run(text):
        return subprocess.run([driver], input=text, capture_output=True, text=True, check=True, timeout=20).stdout

    return run

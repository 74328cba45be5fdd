"""What tests of several rooms need: the command line as a user calls it, the scripts of tools/, a real trace."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import pytest
from hypothesis import settings

settings.register_profile("quick", deadline=None, max_examples=25)  # a busy machine takes its time
settings.register_profile("thorough", deadline=None, max_examples=250)  # pytest --hypothesis-profile=thorough
settings.load_profile("quick")
os.environ.pop("COLUMNS", None)  # pytest-xdist sets it, and commands would fit their tables to it

ROOT = Path(__file__).parent.parent


@pytest.fixture(autouse=True, scope="module")
def _few_objects_to_collect():
    """Leave what other tests keep out of garbage collections, which a search for leaks makes often."""
    gc.collect()
    gc.freeze()


@pytest.fixture
def root():
    return ROOT


@pytest.fixture
def heapwright():
    """Run `heapwright` with these arguments and this environment; what came of it."""

    def run(*arguments, cwd=None, stderr=subprocess.PIPE, **environment):
        command = [sys.executable, "-m", "heapwright", *map(str, arguments)]
        return subprocess.run(
            command,
            stdout=subprocess.PIPE,
            stderr=stderr,
            cwd=cwd,
            env={**os.environ, **environment},
            text=True,
            timeout=110,
            check=False,
        )

    return run


@pytest.fixture
def tool():
    """Load a script of tools/ by its name."""

    def load(name):
        spec = spec_from_file_location(name, ROOT / "tools" / f"{name}.py")
        assert spec is not None and spec.loader is not None
        module = module_from_spec(spec)
        spec.loader.exec_module(module)
        return module

    return load


@pytest.fixture(scope="session")
def surfaceflinger():
    """The recording of Android's compositor, which is not in this repository."""
    path = Path(os.environ.get("HEAPWRIGHT_TRACES", ""), "surfaceflinger.zip")
    if not path.is_file():
        pytest.skip("surfaceflinger.zip is not there: set HEAPWRIGHT_TRACES to its folder")
    from heapwright.traces.importers import open_trace

    return open_trace(path)

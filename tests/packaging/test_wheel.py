"""The wheel and the sdist work when they are installed outside the checkout."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest

pytest.importorskip("build", reason="the package `build` is not installed")
pytestmark = [pytest.mark.long, pytest.mark.timeout(300)]

DATA = {"py.typed", "conformance/cface/check.c", "native/interface/heapwright.h", "native/interface/crate/src/lib.rs"}


@pytest.fixture(scope="module")
def distributions(tmp_path_factory):
    """An sdist, and the wheel that is built from that sdist."""
    folder, root = tmp_path_factory.mktemp("dist"), Path(__file__).parent.parent.parent
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", folder, root)
    [wheel], [sdist] = folder.glob("*.whl"), folder.glob("*.tar.gz")
    return wheel, sdist


@pytest.fixture(scope="module")
def installed(distributions, tmp_path_factory):
    """Run Python in a fresh environment that has the wheel; its dependencies are those of this one."""
    wheel, _ = distributions
    place = tmp_path_factory.mktemp("venv")
    venv.create(place, with_pip=False)
    python = place / "bin" / "python"
    run(sys.executable, "-m", "pip", "--python", python, "install", "--quiet", "--no-deps", wheel)
    environment = {**os.environ, "PYTHONPATH": sysconfig.get_path("purelib")}

    def call(*arguments):
        return run(python, *arguments, env=environment, cwd=place).stdout

    where = call("-c", "import heapwright; print(heapwright.__file__)")
    assert Path(where.strip()).is_relative_to(place), "the checkout was imported, not the wheel"
    assert (place / "bin" / "heapwright").exists()
    return call


def run(*command, **options):
    done = subprocess.run([str(each) for each in command], capture_output=True, text=True, check=False, **options)
    assert done.returncode == 0, done.stdout + done.stderr
    return done


def test_licences_are_in_both(distributions):
    wheel, sdist = distributions
    names = {"LICENSE", "NOTICE", "Apache-2.0.txt"}
    with zipfile.ZipFile(wheel) as file:
        assert names <= {Path(name).name for name in file.namelist()}
        assert set(file.namelist()) >= {f"heapwright/{name}" for name in DATA}
    with tarfile.open(sdist) as file:
        assert names <= {Path(name).name for name in file.getnames()}


def test_a_program_runs_on_an_installed_allocator(installed):
    installed("-m", "heapwright", "run", "-a", "hoard", "--", "true")


def test_an_installed_allocator_is_checked(installed):
    assert "U9_used_or_free" in installed("-m", "heapwright", "check", "kr", "--quick")


@pytest.mark.skipif(not shutil.which("cc"), reason="there is no C compiler")
def test_the_installed_c_face_is_checked(installed, tmp_path):
    installed("-m", "heapwright", "build", "kr", "-o", tmp_path / "kr.so")
    assert "98 of 98 hold" in installed("-m", "heapwright.conformance.cface", tmp_path / "kr.so")

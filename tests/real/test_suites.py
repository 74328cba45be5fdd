"""Longer real work under every allocator: some of CPython's own tests, a Redis server, git gc, a longer compilation."""

from __future__ import annotations

import re
import shutil
import subprocess
import time
from contextlib import contextmanager

import pytest

from heapwright.allocators import ALLOCATORS
from heapwright.lab.inputs.sources import git_repository
from heapwright.native.library import library_of

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

WITHOUT = "without"
EACH = pytest.mark.parametrize("spec", ALLOCATORS)
EACH_AND_WITHOUT = pytest.mark.parametrize("spec", (WITHOUT, *ALLOCATORS))


def environment(spec, home, **more):
    preload = {} if spec == WITHOUT else {"LD_PRELOAD": str(library_of(spec))}
    return {"PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": str(home), **preload, **more}


def needs(*programs):
    absent = [each for each in programs if shutil.which(each) is None]
    return pytest.mark.skipif(bool(absent), reason=f"not installed: {', '.join(absent)}")


# --- CPython's own tests

PYTHON = "/usr/bin/python3"
MODULES = ["test_dict", "test_list", "test_json", "test_threading", "test_gc"]
# The whole of test_multiprocessing_fork takes minutes, most of them asleep.
FORKING = ["Queue", "Pool", "SharedMemory", "Listener", "Heap", "Array", "SharedCTypes"]
FORKING = [word for each in FORKING for word in ("-m", f"*WithProcessesTest{each}*")]
# These search a list, or call the kernel, for every block: Python keeps its small objects in arenas of its own.
ONLY_BIG_BLOCKS = ("pages", "kr", "linked_list")


@pytest.fixture(scope="module")
def python():
    """The system's Python, if its own tests are there."""
    probe = [PYTHON, "-c", "import test.test_threading, test.test_json, test._test_multiprocessing"]
    if shutil.which(PYTHON) is None or subprocess.run(probe, capture_output=True, check=False).returncode != 0:
        pytest.skip(f"{PYTHON} has no tests of its own (Debian: apt-get install libpython3.11-testsuite)")
    return PYTHON


def assert_they_pass(python, words, spec, tmp_path):
    small = {} if spec in ONLY_BIG_BLOCKS else {"PYTHONMALLOC": "malloc"}
    done = subprocess.run(
        [python, "-m", "test", "-W", *words],
        capture_output=True,
        text=True,
        env=environment(spec, tmp_path, **small),
        cwd=tmp_path,
        timeout=280,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]


@EACH_AND_WITHOUT
def test_pythons_own_tests(spec, python, tmp_path):
    assert_they_pass(python, MODULES, spec, tmp_path)


@EACH_AND_WITHOUT
def test_pythons_own_tests_of_forked_processes(spec, python, tmp_path):
    assert_they_pass(python, ["test_multiprocessing_fork", *FORKING], spec, tmp_path)


# --- a Redis server

REDIS = needs("redis-server", "redis-cli", "redis-benchmark")
BINDING = r"binding file \S*redis-server \[0\] to (\S+) \[0\]: normal symbol `(\w+)'"
KEYS = 20_000


@contextmanager
def redis(spec, folder):
    """A server that answers on the socket `s` of its folder, and that ends well when told to.

    The names are relative: a socket's path has 107 bytes.
    """
    options = {"port": "0", "unixsocket": "s", "save": "", "enable-debug-command": "local"}
    words = [word for name, value in options.items() for word in (f"--{name}", value)]
    env = environment(spec, folder, LD_DEBUG="bindings", LD_DEBUG_OUTPUT="bindings")
    with (folder / "log").open("a") as log:
        server = subprocess.Popen(["redis-server", *words], env=env, cwd=folder, stdout=log, stderr=log)
    try:
        wait_until(lambda: server.poll() is not None or (folder / "s").exists())
        assert server.poll() is None, (folder / "log").read_text()[-2000:]
        assert_it_is_served_by(env["LD_PRELOAD"], folder / f"bindings.{server.pid}")
        yield lambda *words: ask(folder, *words)
        ask(folder, "shutdown", "nosave")
        assert server.wait(30) == 0, (folder / "log").read_text()[-2000:]
    finally:
        server.kill()
        server.wait()


def assert_it_is_served_by(library, bindings):
    """Debian's server is linked with jemalloc, as a library of its own whose names are the usual ones.

    A preloaded library therefore comes first. The dynamic linker's own account says that it did: a server with
    jemalloc inside would not ask for `malloc` at all.
    """
    found = re.findall(BINDING, bindings.read_text())
    serving = {symbol: file for file, symbol in found}
    names = ("malloc", "calloc", "realloc", "free", "malloc_usable_size")
    assert {name: serving.get(name) for name in names} == dict.fromkeys(names, library)


def ask(folder, *words):
    command = ["redis-cli", "-s", "s", "-e", *words]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=60, check=True).stdout.strip()


def benchmark(commands):
    return ["redis-benchmark", "-s", "s", "-n", "20000", "-c", "20", "-q", "-t", commands]


def wait_until(happened, seconds=60):
    end = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < end, f"it did not happen in {seconds} s"
        time.sleep(0.05)


@REDIS
@EACH
def test_redis_serves(spec, tmp_path):
    with redis(spec, tmp_path) as say:
        subprocess.run(benchmark("set,get,lpush,lrange,hset"), cwd=tmp_path, check=True, timeout=200)
        assert say("llen", "mylist") == "40000"
        assert say("strlen", "key:__rand_int__") == "3"


@REDIS
@EACH
def test_redis_saves_while_it_serves(spec, tmp_path):
    """The child of a fork writes the keys to a file while its parent goes on; another server then reads the file."""
    with redis(spec, tmp_path) as say:
        say("debug", "populate", str(KEYS))
        with subprocess.Popen(benchmark("set,lpush,hset"), cwd=tmp_path, stdout=subprocess.DEVNULL) as clients:
            assert say("bgsave") == "Background saving started"
            wait_until(lambda: "rdb_bgsave_in_progress:0" in say("info", "persistence"))
        assert clients.returncode == 0
        assert "rdb_last_bgsave_status:ok" in say("info", "persistence")
    with redis(spec, tmp_path) as say:
        assert int(say("dbsize")) >= KEYS
        assert say("get", f"key:{KEYS - 1}") == f"value:{KEYS - 1}"


# --- git gc, and a compilation that takes seconds

FUNCTION = """
static int f{n}(int *a, int k) {{
  int sum = {n};
  for (int i = 0; i < k; i++)
    switch ((a[i] + {n}) % 7) {{
    case 0: sum += a[i] * {n}; break;
    case 1: sum ^= a[i] << (i & 7); break;
    case 2: for (int j = i; j < k; j++) sum -= a[j] / (j + {n} + 1); break;
    default: a[i] = sum + i;
    }}
  return sum;
}}
"""


def c_program(functions):
    calls = " + ".join(f"f{n}(a, k)" for n in range(functions))
    return "".join(FUNCTION.format(n=n) for n in range(functions)) + f"int all(int *a, int k) {{ return {calls}; }}\n"


@needs("gcc")
@EACH
def test_gcc_writes_the_same_code(spec, tmp_path):
    (tmp_path / "program.c").write_text(c_program(150))
    command = ["gcc", "-O2", "-S", "-o", "-", "program.c"]
    codes = [
        subprocess.run(command, env=environment(each, tmp_path), cwd=tmp_path, capture_output=True, check=True).stdout
        for each in (WITHOUT, spec)
    ]
    assert codes[0] == codes[1]


@needs("git")
@EACH
def test_git_packs_a_repository(spec, tmp_path):
    """What it packs, with threads that look for deltas, is whole and the same to a git without the library."""
    git_repository(tmp_path, scale=0.05)
    repository = tmp_path / "repository"
    before = git(WITHOUT, repository, "rev-list", "--objects", "--all")
    git(spec, repository, "-c", "pack.threads=2", "gc", "--quiet", "--aggressive", "--prune=now")
    git(WITHOUT, repository, "fsck", "--strict")
    assert git(WITHOUT, repository, "rev-list", "--objects", "--all") == before
    assert "count: 0\n" in git(WITHOUT, repository, "count-objects", "-v")


def git(spec, folder, *words):
    command = ["git", "-C", str(folder), *words]
    return subprocess.run(command, env=environment(spec, folder), capture_output=True, text=True, check=True).stdout

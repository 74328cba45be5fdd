"""Real programs as they are: their parts sum to the resident set, and their malloc is named."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from heapwright.allocators import ALLOCATORS, kr
from heapwright.guards import LIVE
from heapwright.lab.inspect import inspect
from heapwright.live.errors import InspectError
from heapwright.live.own import damage_in, spans_of
from heapwright.live.report import report_of
from heapwright.spans import USED

pytestmark = pytest.mark.long

PYENV = Path.home() / ".pyenv" / "versions"
LIBC = "/lib/x86_64-linux-gnu/libc.so.6"


def report(pid):
    return report_of(inspect(pid))


def assert_sums(found):
    for column in ("resident", "swapped", "virtual"):
        assert sum(row[column] for row in found["table"].values()) == found[f"{column}_bytes"]
    assert abs(found["parts"]["unexplained"]) <= 0.01 * found["resident_bytes"]
    assert not found["damage"]


@pytest.fixture
def serve(tmp_path):
    """Start a server that never answers on its input; it is ready when `ready` says so."""
    started = []

    def start(command, ready, **options):
        started.append(subprocess.Popen(list(map(str, command)), stdout=subprocess.DEVNULL, **options))
        for _ in range(300):
            if ready():
                return started[-1].pid
            assert started[-1].poll() is None, "it ended"
            time.sleep(0.1)
        raise AssertionError("it is not ready")

    yield start
    for each in started:
        each.terminate()
        each.wait()


def redis(serve, tmp_path, **environment):
    socket = tmp_path / "redis"
    command = ("redis-server", "--port", 0, "--unixsocket", socket, "--save", "", "--enable-debug-command", "yes")
    pid = serve(command, socket.exists, env={**os.environ, **environment})
    subprocess.run(
        ["redis-cli", "-s", socket, "debug", "populate", "50000", "key", "300"], check=True, stdout=subprocess.DEVNULL
    )
    return pid


@pytest.mark.skipif(not shutil.which("redis-server"), reason="redis-server is not installed")
def test_redis_with_jemalloc_inside(serve, tmp_path):
    found = report(redis(serve, tmp_path))
    assert_sums(found)
    assert found["allocator"] == "jemalloc"
    assert found["parts"]["foreign_heap"] == 0 and found["parts"]["live"] > 15 << 20
    told = subprocess.run(["redis-cli", "-s", tmp_path / "redis", "info", "memory"], check=True, capture_output=True)
    allocated = int(re.search(rb"allocator_allocated:(\d+)", told.stdout)[1])
    [figures] = found["statistics"]
    assert abs(figures["live_bytes"] + figures["cached_bytes"] - allocated) < 0.01 * allocated


@pytest.mark.skipif(not shutil.which("redis-server"), reason="redis-server is not installed")
@pytest.mark.skipif(not os.path.exists(LIBC), reason="the C library is elsewhere")
def test_redis_with_the_c_librarys_malloc(serve, tmp_path):
    found = report(redis(serve, tmp_path, LD_PRELOAD=LIBC))
    assert_sums(found)
    assert found["allocator"] == "glibc"
    assert found["parts"]["live"] > 15 << 20


@pytest.mark.skipif(not shutil.which("node"), reason="node is not installed")
def test_node(serve, tmp_path):
    mark = tmp_path / "ready"
    script = (
        "a = []; for (i = 0; i < 1e5; i++) a.push({i}); b = Buffer.alloc(3e7, 1);"
        f"require('fs').writeFileSync('{mark}', ''); setInterval(() => {{}}, 1e6)"
    )
    found = report(serve(("node", "-e", script), mark.exists))
    assert_sums(found)
    assert found["allocator"] == "glibc"
    assert found["parts"]["mapped"] >= 3e7
    assert any("V8" in note for note in found["notes"])


@pytest.mark.skipif(not shutil.which("postgres") or not shutil.which("initdb"), reason="postgres is not installed")
def test_postgres(serve, tmp_path):
    os.chmod(tmp_path, 0o777)
    for parent in list(tmp_path.parents)[:3]:
        os.chmod(parent, 0o755)
    who = {"user": "postgres", "group": "postgres"} if os.getuid() == 0 else {}
    data = tmp_path / "data"
    subprocess.run(["initdb", "-D", data, "-A", "trust"], check=True, capture_output=True, cwd=tmp_path, **who)
    command = ("postgres", "-D", data, "-k", tmp_path, "-c", "listen_addresses=")
    pid = serve(command, (tmp_path / ".s.PGSQL.5432").exists, cwd=tmp_path, stderr=subprocess.DEVNULL, **who)
    found = report(pid)
    assert_sums(found)
    assert found["allocator"] == "glibc"


@pytest.mark.parametrize("version", ["3.11", "3.12", "3.13"])
def test_each_cpython(version, python):
    named = [path for path in PYENV.glob(f"{version}*/bin/python3") if path.exists()]
    system = shutil.which(f"python{version}", path="/usr/bin:/usr/local/bin")
    if not named and not system:
        pytest.skip(f"python{version} is not installed")
    found = report(python("arenas.py", interpreter=named[0] if named else system).pid)
    assert_sums(found)
    assert found["python"]["version"] == version
    assert not found["notes"]
    orders = sum(group["blocks"] for group in found["pins"] if group["kind"] == "Python Order")
    assert 4000 <= orders <= 4010
    assert found["python"]["used_bytes"] > 100 * 1024


def test_a_python_without_arenas_is_said_to_be_one(python):
    found = report(python("arenas.py", PYTHONMALLOC="malloc").pid)
    assert found["python"] is None
    assert any("PYTHONMALLOC=malloc" in note for note in found["notes"])
    assert sum(group["blocks"] for group in found["pins"] if group["kind"] == "Python Order") >= 4000


@pytest.mark.parametrize("library", ["libjemalloc.so.2", "libmimalloc.so.2", "libtcmalloc_minimal.so.4"])
def test_a_preloaded_malloc_is_named(library, python):
    path = Path("/usr/lib/x86_64-linux-gnu", library)
    if not path.exists():
        pytest.skip(f"{library} is not installed")
    found = report(python("arenas.py", LD_PRELOAD=str(path)).pid)
    assert_sums(found)
    assert found["allocator"] in library
    [figures] = found["statistics"]
    assert figures["live_bytes"] > 1 << 20
    assert (found["parts"]["foreign_heap"] > 1 << 20) != figures["in_parts"]


SHAPES = Path(__file__).parent / "programs" / "shapes.c"


@pytest.fixture
def with_holes(program, compiled):
    """A program on an allocator of ours: of 20,000 blocks one in nine stays. What is running, and its process."""

    def run(spec):
        made = compiled("shapes.c", SHAPES.read_text(), "-pthread")
        running = program(sys.executable, "-m", "heapwright", "run", "-a", spec, "--", made, "holes")
        [child] = Path(f"/proc/{running.pid}/task/{running.pid}/children").read_text().split()
        return running, child

    return run


@pytest.mark.slow
@pytest.mark.parametrize("spec", [*ALLOCATORS, "guarded(hoard)"])
def test_our_own_allocators(spec, with_holes):
    """The heap's own walk finds the blocks over the program's memory."""
    running, child = with_holes(spec)
    look = inspect(child)
    found = report_of(look)
    assert spec in found["allocator"]
    assert_sums(found)
    kept = [group for group in found["pins"] if group["kind"] == "text"]
    assert 2200 <= sum(group["blocks"] for group in kept) <= 2240
    most = 10e6 if spec.startswith("pages") else 7e6  # whole pages, or up to the next power of two
    assert 3.2e6 < sum(group["bytes"] for group in kept) < most
    free = ("free_pages", "free_rest", "free_kept", "released")
    held = sum(found["table"][part]["virtual"] for part in free)
    assert held == 0 if spec == "pages" else held > 10 << 20  # it unmaps each block that is freed
    gained = int(running.ask("trim"))
    assert abs(found["returnable_bytes"] - gained) <= max(0.01 * gained, 64 << 10)


@pytest.mark.slow
def test_live_guarded_blocks_are_the_heaps(with_holes):
    """The pool has 33 pages. Those that are not protected hold one live block each."""
    _, child = with_holes("guarded[RATE=1](hoard)")
    own = inspect(child).own
    assert not list(damage_in(own))
    end = own.heap.end.load()
    start = end - 33 * 4096
    found = [span for each in own.extents for span in spans_of(own, each) if start <= span[0] < end]
    live = [slot.page for slot in own.heap.slots if slot.state.load() == LIVE]
    assert sorted(found) == [(page, 4096, USED) for page in sorted(live)]
    assert live


@pytest.mark.slow
@pytest.mark.parametrize("place", ["mine.py", "mine"])
def test_a_users_own_allocator(place, program, compiled, tmp_path, monkeypatch):
    """A file or a package of a user's, named from the folder in which the program was started."""
    path = tmp_path / place if place.endswith(".py") else tmp_path / place / "__init__.py"
    path.parent.mkdir(exist_ok=True)
    shutil.copy(Path(kr.__file__), path)
    made = compiled("shapes.c", SHAPES.read_text(), "-pthread")
    with monkeypatch.context() as there:
        there.chdir(tmp_path)
        running = program(sys.executable, "-m", "heapwright", "run", "-a", f"./{place}", "--", made, "holes")
    [child] = Path(f"/proc/{running.pid}/task/{running.pid}/children").read_text().split()
    found = report_of(inspect(child))
    assert str(tmp_path / place) in found["allocator"]
    assert_sums(found)
    kept = [group for group in found["pins"] if group["kind"] == "text"]
    assert 2200 <= sum(group["blocks"] for group in kept) <= 2240
    path.unlink()
    with pytest.raises(InspectError, match="whose source is not here: .*; inspect it from the folder"):
        inspect(child)

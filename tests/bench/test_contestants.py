"""Mallocs as `-a` names them: what the text means, and that what is measured is what was named."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from heapwright.lab import naming
from heapwright.lab.contestant import Contestant, caller_tuning
from heapwright.lab.machine_facts import PEERS, installed_peers
from heapwright.lab.naming import ContestantError, contestant, contestants, parse
from heapwright.lab.replay import probe, replay
from heapwright.lab.sample import RunError
from heapwright.lab.workloads import WORKLOADS
from heapwright.preload import preloaded
from heapwright.traces.events import ALLOC, ALLOC_ZEROED, DEALLOC, REALLOC, Events
from heapwright.traces.flat import flatten

PAIR = Events.of(op=[ALLOC, DEALLOC], thread=[0, 0], block=[0, 0], size=[100, 0])
FORWARD = """
extern void *__libc_malloc(unsigned long), *__libc_calloc(unsigned long, unsigned long);
extern void *__libc_realloc(void *, unsigned long); extern void __libc_free(void *);
"""
FACES = {
    "malloc": "void *malloc(unsigned long n) { return __libc_malloc(n); }",
    "free": "void free(void *p) { __libc_free(p); }",
    "calloc": "void *calloc(unsigned long n, unsigned long m) { return __libc_calloc(n, m); }",
    "realloc": "void *realloc(void *p, unsigned long n) { return __libc_realloc(p, n); }",
}


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    """Build a library that exports some functions of malloc; its path."""
    folder = tmp_path_factory.mktemp("libraries")

    def build(*functions, name="-".join):
        path = folder / f"{name(functions) or 'none'}.so"
        text = FORWARD + "\n".join(FACES[each] for each in functions)
        subprocess.run(["cc", "-shared", "-fPIC", "-x", "c", "-o", path, "-"], input=text, text=True, check=True)
        return path

    return build


# --- the text


@pytest.mark.parametrize(
    ("text", "name", "malloc", "settings"),
    [
        ("kr", "kr", "kr", ()),
        ("locked(kr)", "locked(kr)", "locked(kr)", ()),
        ("dir/mine.py", "dir/mine.py", "dir/mine.py", ()),
        ("/usr/lib/libmine.so.2", "libmine.so.2", "/usr/lib/libmine.so.2", ()),
        ("mine=/a=b/lib.so", "mine", "/a=b/lib.so", ()),
        ("fast = kr", "fast", "kr", ()),
        ("system{A=1}", "system{A=1}", "system", (("A", "1"),)),
        ("old=/l/lib.so{A=,B=x y}", "old{A=,B=x y}", "/l/lib.so", (("A", ""), ("B", "x y"))),
        ("je{C=a:0,b:1,D=2}", "je{C=a:0,b:1,D=2}", "je", (("C", "a:0,b:1"), ("D", "2"))),
        ("s{T=g.m.a=1:g.m.b=2}", "s{T=g.m.a=1:g.m.b=2}", "s", (("T", "g.m.a=1:g.m.b=2"),)),
        ("hoard[SIZE=4,N=2]", "hoard[SIZE=4,N=2]", "hoard[SIZE=4,N=2]", ()),
        ("big=hoard[SIZE=4]{A=1}", "big{A=1}", "hoard[SIZE=4]", (("A", "1"),)),
    ],
)
def test_the_parts_of_a_text(text, name, malloc, settings):
    spec = parse(text)
    assert (spec.name, spec.malloc, spec.settings) == (name, malloc, settings)


@pytest.mark.parametrize(
    ("text", "is_library"),
    [
        ("/usr/lib/libx.so.2.1", True),
        ("libx.so", True),
        ("x=/etc/passwd", True),
        ("/tmp/allocator", False),
        ("x=/tmp/mine.py", False),
        ("locked(/tmp/mine.py)", False),
        ("x=kr", False),
        ("system", False),
        ("jemalloc", False),
    ],
)
def test_which_paths_are_libraries(text, is_library):
    assert parse(text).is_library is is_library


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "'' is not a malloc"),
        ("system{", "'system{' is not a malloc"),
        ("system{A=1}x", "is not a malloc"),
        ("{A=1}", "is not a malloc"),
        ("system{}", "'' in 'system{}' is not VARIABLE=VALUE"),
        ("system{A}", "'A' in 'system{A}' is not VARIABLE=VALUE"),
        ("system{1A=2}", "'1A=2' in 'system{1A=2}' is not VARIABLE=VALUE"),
        ("kr{LD_PRELOAD=/x.so}", "LD_PRELOAD in 'kr{LD_PRELOAD=/x.so}' is heapwright's to set"),
        ("kr{A=1,HEAPWRIGHT_JOB=x}", "HEAPWRIGHT_JOB in"),
        ("krr", "did you mean 'kr'?"),
        ("/nowhere/x.so", "there is no library /nowhere/x.so"),
        ("x=/", "there is no library /"),
    ],
)
def test_what_is_no_malloc_is_said(text, said):
    with pytest.raises(Exception, match=".*") as caught:
        contestant(text)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_two_of_one_name_are_refused():
    with pytest.raises(ContestantError, match="two mallocs are named 'kr'"):
        contestants(["kr", "kr=system"])
    assert [each.name for each in contestants(["system", "system"])] == ["system"]


def test_a_peer_that_is_not_installed(monkeypatch):
    monkeypatch.setattr(naming, "locate", lambda name: None)
    with pytest.raises(ContestantError, match="jemalloc is not installed: apt-get install libjemalloc2"):
        contestant("jemalloc")


@pytest.mark.parametrize("name", PEERS)
def test_an_installed_peer_is_found_by_name(name):
    if name not in installed_peers():
        pytest.skip(f"{name} is not installed")
    found = contestant(name)
    assert found.name == name
    assert replay(flatten(PAIR), found, 1).failures == 0


# --- the library


@pytest.mark.parametrize("file", ["/lib/x86_64-linux-gnu/libm.so.6", "/etc/passwd", "/dev/null", __file__ + ".so"])
def test_a_file_without_malloc_is_not_measured(file):
    with pytest.raises(ContestantError) as caught:
        contestant(f"x={file}")
    assert "\n" not in str(caught.value)
    if Path(file).is_file():
        assert f"not from {Path(file).resolve()}" in str(caught.value)


@pytest.mark.parametrize("missing", FACES)
def test_a_library_that_lacks_a_function_is_not_measured(library, missing):
    path = library(*(name for name in FACES if name != missing))
    with pytest.raises(ContestantError, match=f"gets {missing} from .*libc.so.6, not from {path}"):
        contestant(f"x={path}")


def test_a_whole_library_is_measured(library):
    found = contestant(f"x={library(*FACES)}")
    assert replay(flatten(PAIR), found, 1).failures == 0


def test_the_workers_ask_for_what_they_call(library):
    part = Contestant("x", library("malloc", "free"))
    assert replay(flatten(PAIR), part, 1).failures == 0
    wants_realloc = Events.of(op=[ALLOC, REALLOC], thread=[0, 0], block=[0, 0], size=[9, 99])
    wants_calloc = Events.of(op=[ALLOC_ZEROED], thread=[0], block=[0], size=[9])
    wants_memalign = Events.of(op=[ALLOC], thread=[0], block=[0], size=[9], log2_align=[6])
    for events, name in (wants_realloc, "realloc"), (wants_calloc, "calloc"), (wants_memalign, "memalign"):
        with pytest.raises(RunError, match=f"gets {name} from "):
            replay(flatten(events), part, 1)
    by_name = {each.name: each.scaled(0.0001) for each in WORKLOADS}
    assert by_name["fifo"].run(part, 30).operations > 0
    for name in ("vectors", "strings"):
        with pytest.raises(RunError, match="gets realloc from "):
            by_name[name].run(part, 30)


def test_the_c_library_must_be_its_own(monkeypatch, library):
    """As where /etc/ld.so.preload brings another malloc into every process."""
    other = library(*FACES)
    monkeypatch.setattr("heapwright.lab.jobs.preloaded", lambda worker: preloaded(worker, other))
    with pytest.raises(RunError, match="gets malloc from .*, not from the C library"):
        probe(Contestant("system", None))


@pytest.mark.parametrize("name", ["a b", "a:b"])
def test_a_library_at_any_path_is_measured(library, tmp_path, name):
    (tmp_path / name).mkdir()
    path = tmp_path / name / "whole.so"
    path.write_bytes(library(*FACES).read_bytes())
    assert replay(flatten(PAIR), contestant(f"x={path}"), 1).failures == 0


# --- the environment


def peak_of(text):
    return replay(flatten(PAIR), contestant(text), 1).heap_bytes


def test_an_environment_reaches_its_own_malloc_alone():
    large = 1 << 28
    assert peak_of("system") < large
    assert peak_of(f"system{{MALLOC_TOP_PAD_={large}}}") >= large
    assert peak_of(f"system{{GLIBC_TUNABLES=glibc.malloc.top_pad={large}}}") >= large


def test_the_callers_tuning_reaches_every_malloc_and_its_own_wins(monkeypatch):
    monkeypatch.setenv("MALLOC_TOP_PAD_", str(1 << 28))
    monkeypatch.setenv("PYTHONMALLOC", "malloc")
    assert peak_of("system") >= 1 << 28
    assert peak_of("system{MALLOC_TOP_PAD_=0}") < 1 << 28
    assert caller_tuning() == {"MALLOC_TOP_PAD_": str(1 << 28)}


@pytest.mark.parametrize(
    ("name", "tunes"),
    [
        ("GLIBC_TUNABLES", True),
        ("MALLOC_CONF", True),
        ("_RJEM_MALLOC_CONF", True),
        ("MIMALLOC_PURGE_DELAY", True),
        ("TCMALLOC_RELEASE_RATE", True),
        ("MALLOCSTATS", True),
        ("PYTHONMALLOC", False),
        ("PATH", False),
    ],
)
def test_which_variables_tune_a_malloc(monkeypatch, name, tunes):
    for known in caller_tuning():
        monkeypatch.delenv(known)
    monkeypatch.setenv(name, "x")
    assert (caller_tuning() == {name: "x"}) is tunes

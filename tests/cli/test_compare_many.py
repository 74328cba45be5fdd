"""`heapwright compare` on several traces, several at a time: on this machine and on a Dask cluster."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from click.testing import CliRunner

from heapwright.cli.compare import command
from heapwright.lab.curves import measure
from heapwright.lab.sample import RunError
from heapwright.native.library import cache
from heapwright.traces import format
from heapwright.traces.events import ALLOC, DEALLOC, Events, Process, Trace, TraceError
from heapwright.traces.format import write
from heapwright.traces.synthesize import random_live_set

pytestmark = pytest.mark.long

HERE = Path(__file__).parents[2]

ABORTS, WAITS = 7777, 8888  # sizes
PECULIAR = f"""
#include <stdlib.h>
#include <unistd.h>
extern void *__libc_malloc(size_t), *__libc_calloc(size_t, size_t), *__libc_realloc(void *, size_t);
extern void __libc_free(void *);
void *malloc(size_t n) {{
  if (n == {ABORTS}) abort();
  while (n == {WAITS}) pause();
  return __libc_malloc(n);
}}
void *calloc(size_t n, size_t m) {{ return __libc_calloc(n, m); }}
void *realloc(void *p, size_t n) {{ return __libc_realloc(p, n); }}
void free(void *p) {{ __libc_free(p); }}
"""


@pytest.fixture(scope="module")
def peculiar(tmp_path_factory):
    """The C library's malloc, which aborts or waits at a size."""
    if not shutil.which("gcc"):
        pytest.skip("gcc is not installed")
    folder = tmp_path_factory.mktemp("peculiar")
    (folder / "malloc.c").write_text(PECULIAR)
    subprocess.run(["gcc", "-shared", "-fPIC", "-o", folder / "peculiar.so", folder / "malloc.c"], check=True)
    return f"peculiar={folder / 'peculiar.so'}"


def recorded(folder, name, events):
    write(folder / f"{name}.hwt", Trace([Process(events, 1, command=name)]))
    return folder / f"{name}.hwt"


def one_block(size):
    return Events.of(op=[ALLOC, DEALLOC], thread=[0, 0], block=[0, 0], size=[size, 0])


@pytest.fixture(scope="module")
def traces(tmp_path_factory):
    """Two traces that both mallocs can serve, one at which the peculiar one aborts, and one at which it waits."""
    folder = tmp_path_factory.mktemp("traces")
    events = {
        "few": random_live_set(live=50, rounds=500, smallest=16, largest=900),
        "large": random_live_set(live=50, rounds=500, smallest=2000, largest=90_000),
        "aborts": one_block(ABORTS),
        "waits": one_block(WAITS),
    }
    return {name: recorded(folder, name, each) for name, each in events.items()}


def figures(done):
    """What does not depend on time: the trace, the malloc, the bytes or the error."""
    return [
        (
            report["trace"]["command"],
            each["allocator"],
            each["error"] or (each["peak_heap_bytes"], each["memory"]["at_end"]),
        )
        for report in json.loads(done.stdout)
        for each in report["results"]
    ]


def test_bytes_and_their_order_do_not_depend_on_how_many_run_at_a_time(heapwright, traces, peculiar):
    words = ("compare", traces["large"], traces["few"], "-a", peculiar, "-a", "system", "-n", "2", "--json")
    alone, together = heapwright(*words), heapwright(*words, "--jobs", "4")
    assert (alone.returncode, together.returncode) == (0, 0), together.stderr
    assert figures(alone) == figures(together)
    assert [each[:2] for each in figures(alone)] == [
        (trace, malloc) for trace in ("large", "few") for malloc in ("peculiar", "system")
    ]
    for report in json.loads(together.stdout):
        assert report["jobs"] == 4
        assert [each["to_system"]["repeats"] for each in report["results"]] == [2, 2]
        assert report["results"][1]["to_system"]["warm"]["ratio"] == 1


def test_a_crash_costs_its_own_row(heapwright, traces, peculiar):
    mallocs = ("-a", peculiar, "-a", "system")
    done = heapwright("compare", traces["aborts"], traces["few"], *mallocs, "-n", "2", "--jobs", "2")
    assert done.returncode == 1
    first, second, means = done.stdout.split("\n\n")
    assert means.startswith("over all 2 traces: multiples of peculiar, as geometric means\n")
    assert [line.split()[:4] for line in means.splitlines()[2:]] == [
        ["peculiar", "1", "1.00", "1.00"],
        ["system", "1", *means.split()[-4:-2]],
    ]
    assert "peculiar is not measured: the replay ended by SIGABRT" in first
    assert first.count("system ") > 1 and "peculiar  " not in first
    assert "peculiar  " in second and "not measured" not in second
    assert "2 replays at a time share the machine" in first and "× system" in first


def children(pid):
    """The processes that a process waits for, whichever thread started them."""
    found = ""
    for task in Path(f"/proc/{pid}/task").iterdir():
        found += (task / "children").read_text()
    return found.split()


def wait_for(condition, seconds=60):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


def interrupted(command, workers):
    """Interrupt a comparison in which system has ended and two others wait, in processes that `workers` started."""
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen([*map(str, command)], start_new_session=True, **pipes) as process:
        parents = workers or [process.pid]

        def waiting():
            return [child for pid in parents for child in children(pid) if is_paused(child)]

        wait_for(lambda: len(waiting()) == 2)
        left = waiting()
        process.send_signal(signal.SIGINT)  # to the parent alone
        out, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    assert errors == "heapwright: interrupted: these are the repeats that were finished\n"
    assert "peculiar is not measured: was interrupted before its first repeat ended" in out
    assert any(line.startswith("system ") for line in out.splitlines())
    assert not any(Path("/proc", each).exists() for each in left)


def is_paused(pid):
    """Whether a process waits in pause(2), the 34th system call of x86-64."""
    try:
        return Path(f"/proc/{pid}/syscall").read_text().split()[0] == "34"
    except OSError:
        return False


def waits(traces, peculiar, *more):
    mallocs = ["-a", "system", "-a", peculiar, "-a", peculiar.replace("peculiar=", "other=")]
    return [sys.executable, "-m", "heapwright", "compare", traces["waits"], *mallocs, "-n", "1", *more]


def test_an_interrupt_ends_all_processes_and_shows_what_is_done(traces, peculiar):
    interrupted(waits(traces, peculiar, "--jobs", "2"), [])


@pytest.mark.parametrize("words", [("--curves",), ("--map",), ("--threads",)])
def test_a_trace_that_does_not_fit_is_refused_before_the_work_where_it_must_fit(traces, monkeypatch, words):
    monkeypatch.setattr(format, "free_memory", lambda: 1000)
    done = CliRunner().invoke(command, [str(traces["few"]), "-a", "no such malloc", *words])
    assert isinstance(done.exception, TraceError)
    assert "need about" in str(done.exception) and done.output == ""


def test_a_trace_that_does_not_fit_is_replayed(traces, monkeypatch):
    monkeypatch.setattr(format, "free_memory", lambda: 1000)
    assert CliRunner().invoke(command, [str(traces["few"]), "-a", "system", "-n", "1"]).exit_code == 0


def test_curves_that_fail_cost_nothing_else(traces, monkeypatch):
    def fails(flat, malloc, *rest, **options):
        if malloc.settings:
            raise RunError("ended by SIGSEGV")
        return curves_of(flat, malloc, *rest, **options)

    curves_of = measure.curves_of
    monkeypatch.setattr(measure, "curves_of", fails)
    words = [str(traces["few"]), "-a", "system{MALLOC_ARENA_MAX=1}", "-a", "system", "-n", "1", "--curves"]
    done = CliRunner().invoke(command, [*words, "--samples", "5"])
    assert done.exit_code == 1, done.exception
    assert "system{MALLOC_ARENA_MAX=1}: the replay for the curves ended by SIGSEGV" in done.output
    assert "system: a walk of glibc's arenas" in done.output


# --- on a Dask cluster


def test_without_dask_one_line_says_what_to_install(refused, traces, tmp_path):
    (tmp_path / "distributed.py").write_text("raise ImportError('none')")
    line = refused("compare", traces["few"], "-a", "system", "--on", "dask://127.0.0.1:1", PYTHONPATH=str(tmp_path))
    assert line == "heapwright: --on needs Dask: pip install 'heapwright[dask]'"


def test_a_cluster_that_does_not_answer_is_one_line(refused, traces):
    pytest.importorskip("distributed")
    line = refused("compare", traces["few"], "-a", "system", "--on", "dask://127.0.0.1:1")
    assert "no Dask scheduler answers at dask://127.0.0.1:1: start one with `dask scheduler`" in line


@pytest.fixture(scope="module")
def cluster():
    """A scheduler with two worker processes on this machine, and the plain environment of a client."""
    distributed = pytest.importorskip("distributed")
    before = dict(os.environ)
    with distributed.LocalCluster(n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None) as found:
        os.environ.clear()
        os.environ.update(before)
        yield found


def address(cluster):
    return cluster.scheduler_address.replace("tcp://", "dask://")


def test_a_cluster_finds_what_this_machine_finds(heapwright, cluster, traces, peculiar):
    """The same bytes in the same order, and the same crash."""
    words = ("compare", traces["large"], traces["aborts"], "-a", peculiar, "-a", "system", "-n", "2", "--json")
    here, there = heapwright(*words), heapwright(*words, "--on", address(cluster))
    assert (here.returncode, there.returncode) == (1, 1), there.stderr
    assert figures(here) == figures(there)
    assert figures(there)[2] == ("aborts", "peculiar", "the replay ended by SIGABRT")


def test_an_interrupt_ends_the_processes_on_the_cluster(cluster, traces, peculiar):
    with cluster.get_client() as client:
        interrupted(waits(traces, peculiar, "--on", address(cluster)), client.run(os.getpid).values())


@pytest.fixture
def remote(cluster):
    """A cluster whose only worker has another /tmp, as on another machine."""
    bwrap, dask = shutil.which("bwrap"), Path(sys.executable).with_name("dask")
    kept = [sys.prefix, str(HERE)] if HERE.is_relative_to("/tmp") else []
    shown = [word for each in kept for word in ("--ro-bind", each, each)]
    apart = [bwrap or "bwrap", "--dev-bind", "/", "/", "--tmpfs", "/tmp", *shown, "--die-with-parent"]
    if not bwrap or subprocess.run([*apart, "true"], check=False, capture_output=True).returncode:
        pytest.skip("bubblewrap cannot make another /tmp")
    with cluster.get_client() as client:
        cluster.scale(0)
        wait_for(lambda: not client.scheduler_info(n_workers=-1)["workers"])
        options = ["--nthreads", "1", "--no-nanny", "--no-dashboard"]
        worker = subprocess.Popen(
            [*apart, dask, "worker", cluster.scheduler_address, *options],
            stderr=subprocess.DEVNULL,
            env={**os.environ, "TMPDIR": "/tmp"},
        )
        client.wait_for_workers(1, timeout=60)
        yield cluster
        worker.terminate()
        worker.wait()


def test_a_file_that_a_worker_does_not_have_is_sent_and_removed(heapwright, remote, traces, peculiar, tmp_path):
    if not tmp_path.is_relative_to("/tmp"):
        pytest.skip("the worker sees this test's folder")
    sent = cache() / "sent"
    before = set(sent.glob("*"))
    done = heapwright("compare", traces["few"], "-a", peculiar, "-n", "1", "--on", address(remote), "--json")
    assert done.returncode == 0, done.stderr + done.stdout
    assert json.loads(done.stdout)["results"][0]["peak_heap_bytes"] is None
    assert set(sent.glob("*")) == before

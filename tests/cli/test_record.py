"""What a program may become while it is recorded: it never dies of that, and nothing is lost unsaid."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import time
from contextlib import nullcontext
from datetime import datetime

import pytest

from heapwright.lab.collector import MIN_AHEAD, Collector, is_clock_common
from heapwright.lab.recorded import REASONS
from heapwright.traces import raw
from heapwright.traces.events import INHERITED, check
from heapwright.traces.importers import open_trace
from heapwright.traces.raw_stacks import VARIABLE
from heapwright.traces.stacks import UNKNOWN

pytest.importorskip("numba")

# Each argument is something to do; the last system call is the first of all that seccomp's strict mode allows.
PROGRAM = r"""
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <grp.h>
#include <unistd.h>
#define ROUNDS 5000

static void work(void) {
    for (int i = 0; i < ROUNDS; i++) { void *volatile block = malloc(100 + i % 100); free(block); }
}
/* Sizes and lifetimes at random, which do not compress. */
static void noise(void) {
    static void *volatile kept[256];
    unsigned seed = 1;
    for (int i = 0; i < 20 * ROUNDS; i++) {
        seed = seed * 1664525u + 1013904223u;
        free(kept[seed >> 24]);
        kept[seed >> 24] = malloc(1 + (seed >> 8 & 0xffff));
    }
}
static void limit(int which, long bytes) {
    struct rlimit both = {bytes, bytes};
    if (setrlimit(which, &both)) _exit(3);
}
/* Allow what malloc and fork need; kill for anything else. */
static void filter(void) {
    static const int allowed[] = {SYS_brk, SYS_mmap, SYS_munmap, SYS_exit, SYS_exit_group, SYS_clone, SYS_wait4,
                                  SYS_set_robust_list, SYS_rseq};
    enum { COUNT = sizeof allowed / sizeof *allowed };
    static struct sock_filter code[COUNT + 3] = {BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 0)};
    for (int i = 0; i < COUNT; i++)
        code[i + 1] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, allowed[i], COUNT - i, 0);
    code[COUNT + 1] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS);
    code[COUNT + 2] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
    struct sock_fprog whole = {COUNT + 3, code};
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &whole)) _exit(3);
}
static void act(const char *name, char **rest) {
    if (!strcmp(name, "user") && (setgroups(0, 0) || setgid(65534) || setuid(65534))) _exit(3);
    if (!strcmp(name, "chroot") && (chroot(*rest) || chdir("/"))) _exit(3);
    if (!strcmp(name, "descriptors")) while (open("/dev/null", O_RDONLY) >= 0);
    if (!strcmp(name, "close")) for (int i = 3; i < 1000; i++) close(i);
    if (!strcmp(name, "files")) limit(RLIMIT_FSIZE, 4096);
    if (!strcmp(name, "space")) limit(RLIMIT_AS, 1l << 30);
    if (!strcmp(name, "filter")) filter();
    if (!strcmp(name, "strict")) prctl(PR_SET_SECCOMP, SECCOMP_MODE_STRICT);
    if (!strcmp(name, "work")) work();
    if (!strcmp(name, "noise")) noise();
    if (!strcmp(name, "fork")) {
        if (fork() == 0) { work(); syscall(SYS_exit, 0); }
        wait(0);
    }
    if (!strcmp(name, "daemon") && fork() == 0) {
        close(1), close(2), work(), alarm(60);
        while (access(*rest, F_OK)) usleep(10000);
        work();
    }
    if (!strcmp(name, "exec")) execv(*rest, rest);
}
int main(int count, char **arguments) {
    work();
    for (int i = 1; i < count; i++) act(arguments[i], arguments + i + 1);
    syscall(SYS_exit, 0);
    return 0;
}
"""
WORK, NOISE = 2 * 5000, 2 * 20 * 5000  # events of one `work` and one `noise`


@pytest.fixture
def program(compiled):
    return compiled(PROGRAM)


@pytest.fixture
def run_recorded(tmp_path):
    """Run a program under the recorder, its recording in a folder, and perhaps with no collector at work."""
    from heapwright.native.library import recorder_library

    def run(*command, folder=tmp_path, is_collected=True, depth=0):
        with (folder / "x.hwt").open("w+b") as file:
            collector = Collector(folder, file)
            environment = {"LD_PRELOAD": str(recorder_library()), "HEAPWRIGHT_RECORD": str(collector.path)}
            environment |= {VARIABLE: str(depth)} if depth else {}
            with collector if is_collected else nullcontext():
                assert subprocess.run(command, env=environment, check=False).returncode == 0
            with nullcontext() if is_collected else collector:
                pass
            collector.complete()
        trace = open_trace(folder / "x.hwt")
        for each in trace.processes:
            check(each.events)
        return trace

    return run


@pytest.fixture
def recorded(heapwright, tmp_path):
    """Record a program with the command; its trace, and what was said."""

    def run(*command, **options):
        done = heapwright("record", "-o", tmp_path / "x.hwt", "--", *command, **options)
        assert done.returncode == 0, done.stderr
        trace = open_trace(tmp_path / "x.hwt")
        for each in trace.processes:
            check(each.events)
        assert not list(tmp_path.glob(".x.hwt*"))
        return trace, done.stderr.splitlines()

    return run


as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root may")


@pytest.mark.parametrize(
    "becomes",
    [
        pytest.param("user", marks=as_root),
        pytest.param("chroot /", marks=as_root),
        "descriptors",
        "close",
        "files",
        "space",
        "filter",
    ],
)
@pytest.mark.parametrize("depth", [0, 64])
def test_nothing_is_lost_whatever_the_program_becomes(run_recorded, program, becomes, depth):
    trace = run_recorded(program, *becomes.split(), "work", "fork", "work", depth=depth)
    parent, child = trace.processes
    assert len(parent.events) >= 3 * WORK
    assert WORK <= len(child.events) < WORK + 100
    assert (child.parent, child.command) == (parent.pid, parent.command)
    assert not trace.notes()
    assert all(has_stacks(each.events) == bool(depth) for each in trace.processes)


@pytest.mark.parametrize("depth", [0, 64])
def test_nothing_is_lost_in_seccomps_strict_mode(run_recorded, program, depth):
    trace = run_recorded(program, "strict", "work", depth=depth)
    assert len(trace.events) >= 2 * WORK
    assert not trace.notes()
    assert has_stacks(trace.events) == bool(depth)


@pytest.mark.skipif(not is_clock_common(), reason="the processors' clocks may differ")
def test_the_strict_mode_forbids_the_clock_not_the_recording(recorded, program):
    trace, said = recorded(program, "work", "strict", "work")
    assert len(trace.events) >= 3 * WORK
    assert len(said) == 1
    assert trace.events.has_times


def has_stacks(events):
    """Whether all requests have a call stack."""
    return bool((events.site[events.asks & ((events.flags & INHERITED) == 0)] != UNKNOWN).all())


def test_what_was_recorded_is_told_in_a_line(recorded, program):
    _, said = recorded(program, "work", "fork")
    assert len(said) == 1 and " events from 2 processes (2 threads); peak live memory " in said[0]


@pytest.mark.skipif(not is_clock_common(), reason="the processors' clocks may differ")
def test_events_have_the_times_of_the_run(recorded, program):
    before = time.time()
    trace, _ = recorded(program, "work", "fork")
    parent, child = (each.events.time for each in trace.processes)
    assert 0 < parent[0] < parent[-1] < 1e6 * (time.time() - before)
    assert parent[0] < child[-1] < parent[-1] + 1e6 * (time.time() - before)
    assert abs(datetime.fromisoformat(trace.date).timestamp() - before) < 60


@as_root
def test_another_program_of_another_user_is_recorded_too(recorded, program, tmp_path):
    tmp_path.chmod(0o700)
    trace, _ = recorded(program, "user", "exec", "/bin/ls", "/")
    assert [each.pid for each in trace.processes] == [trace.processes[0].pid] * 2
    assert [each.execs for each in trace.processes] == [0, 1]
    assert trace.processes[1].command == "/bin/ls /"
    assert len(trace.processes[1].events) > 10


def test_a_process_that_cannot_open_the_recording_says_so(program, tmp_path):
    from heapwright.native.library import recorder_library

    environment = {"LD_PRELOAD": str(recorder_library()), "HEAPWRIGHT_RECORD": str(tmp_path / "gone")}
    done = subprocess.run([program, "work", "fork"], env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr == "heapwright: a process is not recorded: it cannot open the recording\n"


def test_what_runs_on_is_said(recorded, program, tmp_path):
    _, said = recorded(program, "daemon", tmp_path / "stop")
    (tmp_path / "stop").touch()
    assert said[1:] == ["  1 process still running, whose further calls are not recorded"]


HANDED_OVER = r"""
#include <pthread.h>
#include <stdlib.h>
#define BLOCKS 100000
static void *volatile handed;
static void *release(void *unused) {
    for (int i = 0; i < BLOCKS; i++) {
        while (!handed) ;
        free(handed);
        handed = 0;
    }
    return 0;
}
int main(void) {
    pthread_t other;
    for (int i = 0; i < BLOCKS; i++) { void *volatile alone = malloc(100); free(alone); }
    pthread_create(&other, 0, release, 0);
    for (int i = 0; i < BLOCKS; i++) {
        handed = malloc(100);
        while (handed) ;
    }
    pthread_join(other, 0);
    return 0;
}
"""


@pytest.mark.long
def test_the_order_of_calls_is_exact_when_a_second_thread_begins_to_make_some(recorded, compiled):
    trace, said = recorded(compiled(HANDED_OVER, "-O1", "-pthread"))
    assert len(said) == 1
    assert trace.summary().cross_thread_deallocs == 100_000


def test_free_of_null_and_callocs_arguments_are_kept(heapwright, compiled, tmp_path):
    body = "void *volatile p = 0; free(p); p = calloc(30, 8); free(p); return 0;"
    program = compiled(f"#include <stdlib.h>\nint main(void) {{ {body} }}\n")
    heapwright("record", "-o", tmp_path / "x.hwt", "--", program)
    heapwright("convert", tmp_path / "x.hwt", tmp_path / "x.txt")
    assert (tmp_path / "x.txt").read_text() == ("0: free 0x0\n0: calloc 0x100000000 30 8\n0: free 0x100000000\n")


@pytest.mark.long
def test_a_double_free_is_told_with_its_place(heapwright, compiled, tmp_path):
    source = "#include <stdlib.h>\nint main(void) { void *volatile p = malloc(24); free(p); free(p); return 0; }\n"
    done = heapwright("record", "-o", tmp_path / "x.hwt", "--", compiled(source))
    assert done.returncode in (0, 128 + 6)  # the C library may see it, too
    found = [line for line in done.stderr.splitlines() if line.startswith("  1 double free, dropped: block 0x")]
    assert len(found) == 1 and " by thread 0 and again after event " in found[0]
    for command in ("convert", tmp_path / "y.hwt"), ("compare", "-a", "system", "-n", "1"):
        assert found[0] in heapwright(command[0], tmp_path / "x.hwt", *command[1:]).stderr.splitlines()


@pytest.mark.parametrize("name", ["alone", "beside others"])
def test_a_program_that_cannot_be_recorded_is_named(heapwright, compiled, tmp_path, name):
    source = "#include <unistd.h>\nint main(int n, char **v) { return n > 1 ? execv(v[1], v + 1) : 0; }\n"
    static = compiled(source, "-static")
    others = [] if name == "alone" else ["/bin/ls", "/"]
    done = heapwright("record", "-o", tmp_path / "x.hwt", "--", static, *others)
    reason = "it is statically linked, so nothing can be preloaded"
    if others:
        assert done.returncode == 0
        assert done.stderr.splitlines()[1:] == [f"  {static} itself is not recorded: {reason}"]
    else:
        assert (done.returncode, done.stderr) == (2, f"heapwright: nothing was recorded: {static} {reason[3:]}\n")


# --- limits of files


def limit_files(size):
    return lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))


def record_limited(program, tmp_path, size, *acts):
    """Record a program under a limit on the size of files. Returns the trace and what was said after the summary."""
    command = [sys.executable, "-m", "heapwright", "record", "-o", tmp_path / "x.hwt", "--", program, *acts]
    done = subprocess.run(command, preexec_fn=limit_files(size), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return open_trace(tmp_path / "x.hwt"), done.stderr.splitlines()[1:]


def test_a_small_ring_is_used_again_and_again(program, tmp_path):
    trace, said = record_limited(program, tmp_path, 1 << 20, *["work"] * 40)
    assert said == []
    assert 41 * WORK <= len(trace.events) < 41 * WORK + 100


def test_a_limit_on_files_ends_the_recording_not_the_program(program, tmp_path):
    trace, [loss] = record_limited(program, tmp_path, 1 << 19, *["noise"] * 5)
    assert loss.endswith(" calls of 1 process, not recorded: a file may not grow further (ulimit -f)")
    lost, kept = int(loss.split()[0].replace(",", "")), len(trace.events)
    assert 0 < kept < 5 * NOISE <= kept + lost < 6 * NOISE


def test_a_collector_that_is_gone_ends_the_recording_not_the_program(run_recorded, program):
    works = MIN_AHEAD * raw.RECORDS_PER_CHUNK // WORK + 2
    trace = run_recorded(program, *["work"] * works, "fork", is_collected=False)
    assert len(trace.processes) == 1
    [sentence] = trace.notes()
    assert sentence == f"calls of 2 processes, not recorded: {REASONS[raw.LATE]}"
    assert len(trace.events) + trace.notes()[sentence] >= (works + 2) * WORK


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 2 MiB."""
    place = tmp_path / "small"
    place.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", place], capture_output=True, check=False
    )
    if mounted.returncode != 0:
        pytest.skip("a small file system can be mounted only by root")
    yield place
    subprocess.run(["umount", "-l", place], check=True)


def test_a_full_disk_ends_the_recording_not_the_program(run_recorded, program, small_disk):
    trace = run_recorded(program, *["noise"] * 12, folder=small_disk)
    [sentence] = trace.notes()
    assert sentence == "calls of 1 process, not recorded: the disk is full"
    assert 12 * NOISE <= len(trace.events) + trace.notes()[sentence] < 13 * NOISE

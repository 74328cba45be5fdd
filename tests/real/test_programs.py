"""Real programs under every allocator: the same output as without, and the same exit status."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from heapwright.allocators import ALLOCATORS
from heapwright.lab.inputs.sources import git_repository
from heapwright.native.library import library_of

THREADS_AND_CHILDREN = """
import json, subprocess, sys, threading
def work(n):
    kept = [bytearray(n * i % 5000) for i in range(800)]
    results.append(len(json.dumps([len(each) for each in kept])))
results = []
threads = [threading.Thread(target=work, args=(n,)) for n in range(1, 5)]
for each in threads: each.start()
child = [sys.executable, "-c", "print(list(range(5)))"]
outputs = [subprocess.run(child, capture_output=True).stdout for _ in range(3)]
for each in threads: each.join()
print(sorted(results), outputs)
"""
STUCK_BREAK = """
import ctypes, random, resource
libc = ctypes.CDLL(None)
libc.sbrk.restype = libc.mmap.restype = ctypes.c_void_p
resource.setrlimit(resource.RLIMIT_AS, (4 << 30, 4 << 30))
end = (libc.sbrk(0) + 4095 & ~4095) + (8 << 16)
assert libc.mmap(ctypes.c_void_p(end), 4096, 0, 0x100022, -1, ctypes.c_long(0)) == end  # MAP_FIXED_NOREPLACE
rng = random.Random(1)
kept = {}
for _ in range(1500):
    i = rng.randrange(40)
    assert kept.pop(i, bytes([i]))[-1] == i
    kept[i] = bytes([i]) * (1 + rng.randrange(rng.choice((3000, 200_000, 2_000_000))))
print(sum(map(len, kept.values())))
"""
NODE = (
    "let m = new Map(); for (let i = 0; i < 2e5; i++) m.set(i, 'x' + i);"
    "console.log(m.size, require('zlib').gzipSync('a'.repeat(1e6)).length)"
)
ROWS = 200_000
QUERY = f"""
create table t(a integer primary key, b text);
with recursive c(i) as (select 1 union all select i + 1 from c where i < {ROWS}) insert into t
  select i, 'row ' || i from c;
create index by_b on t(b);
select count(*), sum(a), max(b) from t where b like 'row 1%';
select b from t where b > 'row 77777' order by b limit 5;
"""
PERL = 'my %h; for my $i (1..50000) { $h{$i % 500} .= chr(65 + $i % 26) } print join(",", map { $h{$_} } sort keys %h)'
C_FILE = "int fib(int n) { return n < 2 ? n : fib(n - 1) + fib(n - 2); }\nint main(void) { return fib(11) != 89; }\n"
LUA = "local t = {} for i = 1, 50000 do t[i % 700] = ('x'):rep(i % 90) .. i end print(#t, t[13])"


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Inputs that the programs read: lines to sort, a C file, a repository, a package to compile."""
    folder = tmp_path_factory.mktemp("inputs")
    lines = "\n".join(str(i * 7919 % 300_007) for i in range(300_000))
    (folder / "lines.txt").write_text(lines)
    (folder / "fib.c").write_text(C_FILE)
    shutil.copytree(Path(json.__file__).parent, folder / "package")
    if shutil.which("git"):
        git_repository(folder, scale=0.01)
    return folder


PROGRAMS = {
    "python_threads": lambda files: [sys.executable, "-c", THREADS_AND_CHILDREN],
    "python_stuck_break": lambda files: [sys.executable, "-c", STUCK_BREAK],
    "python_compileall": lambda files: [sys.executable, "-m", "compileall", "-q", "-f", str(files / "package")],
    "sqlite3": lambda files: ["sqlite3", ":memory:", QUERY],
    "git_log": lambda files: ["git", "-C", str(files / "repository"), "log", "--stat", "-p"],
    "git_clone": lambda files: ["git", "clone", "-q", str(files / "repository"), str(files / "clone")],
    "perl": lambda files: ["perl", "-e", PERL],
    "sort": lambda files: ["sort", "-n", str(files / "lines.txt")],
    "gcc": lambda files: ["gcc", "-O2", "-o", str(files / "fib"), str(files / "fib.c")],
    "lua": lambda files: ["lua5.4", "-e", LUA],
    "node": lambda files: ["node", "-e", NODE],
    "false": lambda files: ["false"],
}


def outcome(command, files, library=None):
    shutil.rmtree(files / "clone", ignore_errors=True)
    environment = {"PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": str(files), "PYTHONHASHSEED": "0"}
    if library:
        environment["LD_PRELOAD"] = str(library)
    done = subprocess.run(command, capture_output=True, env=environment, timeout=110, check=False)
    return done.returncode, done.stdout, done.stderr


QUICK = ("python_threads", "python_stuck_break", "git_log", "false")
WHOLE = ("kr", "linked_list")
PAIRS = [
    pytest.param(program, spec, marks=() if program in QUICK or spec in WHOLE else pytest.mark.long)
    for spec in ALLOCATORS
    for program in PROGRAMS
]


@pytest.mark.parametrize(("program", "spec"), PAIRS)
def test_a_program_does_the_same(program, spec, files):
    command = PROGRAMS[program](files)
    if shutil.which(command[0]) is None:
        pytest.skip(f"{command[0]} is not installed")
    assert outcome(command, files, library_of(spec)) == outcome(command, files)

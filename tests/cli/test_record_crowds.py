"""Recordings of crowds: thousands of threads, or hundreds of processes, that all ask for a chunk at once."""

import pytest

from heapwright.traces.events import check
from heapwright.traces.importers import open_trace

pytest.importorskip("numba")
pytestmark = pytest.mark.long

HEAD = "#include <pthread.h>\n#include <stdlib.h>\n#include <sys/wait.h>\n#include <unistd.h>\n"
THREADS, PROCESSES, ROUNDS = 5000, 500, 100
WORK = f"""
static void *work(void *argument) {{
    for (int i = 0; i < {ROUNDS}; i++) {{ void *volatile block = malloc(10000 + (long)argument); free(block); }}
    return 0;
}}
"""
# All of them begin at the same moment.
OF_THREADS = f"""
static pthread_barrier_t all;
static void *begin(void *argument) {{ pthread_barrier_wait(&all); return work(argument); }}
int main(void) {{
    static pthread_t threads[{THREADS}];
    pthread_attr_t small;
    pthread_attr_init(&small), pthread_attr_setstacksize(&small, 65536);
    pthread_barrier_init(&all, 0, {THREADS});
    for (long i = 0; i < {THREADS}; i++) if (pthread_create(threads + i, &small, begin, (void *)i)) return 77;
    for (long i = 0; i < {THREADS}; i++) pthread_join(threads[i], 0);
    return 0;
}}
"""
OF_PROCESSES = f"""
int main(void) {{
    for (long i = 0; i < {PROCESSES}; i++) {{
        int pid = fork();
        if (pid < 0) return 77;
        if (!pid) work((void *)i), usleep(200000), _exit(0);
    }}
    while (wait(0) > 0);
    return 0;
}}
"""


@pytest.fixture
def record(heapwright, compiled, tmp_path):
    """Record a program; the trace, of which nothing is lost."""

    def run(source):
        program = compiled(HEAD + WORK + source, "-pthread")
        done = heapwright("record", "-o", tmp_path / "x.hwt", "--", program)
        if done.returncode == 77:
            pytest.skip("the machine does not allow so many")
        assert done.returncode == 0 and "not recorded" not in done.stderr, done.stderr
        trace = open_trace(tmp_path / "x.hwt")
        for each in trace.processes:
            check(each.events)
        return trace

    return run


def requests_of(trace):
    return sum(int((each.events.asks & (each.events.size >= 10_000)).sum()) for each in trace.processes)


def test_thousands_of_threads(record):
    assert requests_of(record(OF_THREADS)) == THREADS * ROUNDS


def test_hundreds_of_children(record):
    trace = record(OF_PROCESSES)
    assert len(trace.processes) == PROCESSES
    assert requests_of(trace) == PROCESSES * ROUNDS

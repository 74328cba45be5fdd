"""Submissions that try to forge their grade, or to harm the grader's machine. None gains anything."""

from __future__ import annotations

import json

import pytest

pytestmark = pytest.mark.long

PRINTED = r'printf("score 100 of 100\n"); puts("{\"score\": 100}"); fflush(stdout);'
ENDS = {
    "exits in a constructor": f"__attribute__((constructor)) static void now(void) {{ {PRINTED} exit(0); }}",
    "exits in mm_init": f"int mm_init(void) {{ {PRINTED} _exit(0); }}",
    "exits in mm_malloc": "void *mm_malloc(size_t size) { if (size > 100) _exit(0); return sound_malloc(size); }",
    "answers from a child": "int mm_init(void) { if (fork() != 0) _exit(0); return sound_init(); }",
    "crashes": "void *mm_malloc(size_t size) { return size > 100 ? *(void *volatile *)8 : sound_malloc(size); }",
    "aborts": "void *mm_malloc(size_t size) { if (size > 100) abort(); return sound_malloc(size); }",
    "hangs": "void *mm_malloc(size_t size) { for (;;) ; }",
    "sleeps": "void *mm_malloc(size_t size) { for (;;) sleep(1000); }",
    "stops": "#include <signal.h>\nvoid *mm_malloc(size_t size) { raise(SIGSTOP); return sound_malloc(size); }",
    "closes its descriptors": (
        "int i;\nvoid *mm_malloc(size_t size) { while (i < 9999) close(i++); return sound_malloc(size); }"
    ),
}
HOW = {
    "exits in a constructor": "exited with status 0",
    "exits in mm_init": "exited with status 0",
    "exits in mm_malloc": "exited with status 0 in malloc(",
    "answers from a child": "exited with status 0",
    "crashes": "ended by SIGSEGV",
    "aborts": "ended by SIGABRT",
    "hangs": "does not answer within 1 s",
    "sleeps": "does not answer within 1 s",
    "stops": "does not answer within 1 s",
    "closes its descriptors": "exited with status",
}
# What a submission tries; it ends itself if it succeeds, and else is as sound as the example.
TRIES = {
    "reads the trace": 'open("{trace}", 0) >= 0',
    "reads the home": 'open("{home}", 0) >= 0',
    "reads its own source": 'open("/submission/mm.c", 0) >= 0',
    "sees processes": 'open("/proc", 0) >= 0 || open("/proc/self/maps", 0) >= 0',
    "writes": 'open("/tmp/x", 66, 511) >= 0 || open("/x", 66, 511) >= 0 || open("/grade/x", 66, 511) >= 0',
    "writes its library": 'open("/grade/heap.so", 1) >= 0 || open("/grade/driver", 1) >= 0',
    "talks": "socket(2, 1, 0) >= 0 || socket(1, 1, 0) >= 0",
    "forks": "fork() >= 0 || vfork() >= 0",
    "makes a thread": "pthread_create(&thread, 0, work, 0) == 0",
    "executes": 'execl("/usr/bin/true", "true", NULL) == 0',
    "signals": "kill(-1, 9) == 0 || kill(1, 9) == 0",
    "traces": "ptrace(16, 1, 0, 0) == 0",
    "keeps a file in memory": 'memfd_create("x", 0) >= 0',
    "shares memory": "syscall(9, 0, 4096, 3, 33, -1, 0) != -1",
    "truncates the heap": "ftruncate(3, 0) == 0 || ftruncate(4, 0) == 0 || ftruncate(5, 0) == 0",
    "raises its limits": "setrlimit(0, &limit) == 0",
}
INCLUDES = "".join(
    f"#include <{name}>\n"
    for name in ("fcntl.h", "pthread.h", "signal.h", "sys/mman.h", "sys/ptrace.h", "sys/resource.h", "sys/socket.h")
)


@pytest.mark.parametrize("name", ENDS)
def test_a_submission_that_ends_or_hangs_has_no_score(failure, name):
    found = failure(ENDS[name], seconds=1)
    assert found.rule == ("prompt" if "does not answer" in HOW[name] else "alive")
    assert HOW[name] in found.what


def test_each_forbidden_thing_fails_without_harm(graded, tmp_path):
    """One submission tries all of them. Any that succeeded would end it with its number."""
    (tmp_path / "trace.rep").write_text("secret")
    places = {"trace": tmp_path / "trace.rep", "home": tmp_path.home()}
    tries = "".join(f"  if ({each.format(**places)}) _exit({i});\n" for i, each in enumerate(TRIES.values(), 100))
    work = "static void *work(void *x) { return x; }\n"
    attack = f"{INCLUDES}{work}int mm_init(void) {{\n  pthread_t thread; struct rlimit limit = {{-1, -1}};\n"
    grade = graded(f"{attack}{tries}  return sound_init();\n}}")
    assert not grade.failures, [each.failure.what for each in grade.failures]
    assert grade.score > 0


def test_a_trial_that_succeeds_would_be_seen(failure):
    """The check of the test above: reading is allowed where the sandbox has a file."""
    found = failure('#include <fcntl.h>\nint mm_init(void) { if (open("/usr", 0) >= 0) _exit(100); return 0; }')
    assert "exited with status 100" in found.what


def test_what_it_prints_is_shown_without_control_characters_and_believed_by_nobody(graded, failure):
    attack = r'int mm_init(void) { puts("\x1b[2Jscore 100 of 100"); fflush(stdout); %sreturn sound_init(); }'
    assert graded(attack % "").score < 100
    grade = graded(attack % "_exit(0); ")
    assert grade.duties[0].printed == ["?[2Jscore 100 of 100"]
    assert grade.score == 0


def test_a_patched_clock_changes_nothing(graded):
    """A slow heap whose library has its own clocks is still slow."""
    clocks = """
    #include <time.h>
    int clock_gettime(clockid_t id, struct timespec *now) { now->tv_sec = now->tv_nsec = 0; return 0; }
    time_t time(time_t *now) { return 0; }
    clock_t clock(void) { return 0; }
    """
    slow = """
    void *mm_malloc(size_t size) { for (volatile int i = 0; i < 300000; i++) ; return sound_malloc(size); }
    """
    grade = graded(clocks + slow)
    assert not grade.failures
    assert 0 < grade.throughput < 0.05


def test_a_heap_that_lies_about_its_break_is_measured_by_its_pages(graded):
    """A heap that never frees, with its blocks above the break: the pages are counted all the same."""
    attack = """
    static char *top;
    int mm_init(void) { return 0; }
    void *mm_malloc(size_t size) {
      char *block = top ? top : (top = (char *)0x200000000000);
      top += (size + 4096) / 4096 * 4096;
      return block;
    }
    void mm_free(void *block) {}
    void *mm_realloc(void *block, size_t size) {
      char *moved = mm_malloc(size);
      return block ? memcpy(moved, block, size) : moved;
    }
    """
    grade = graded(attack)
    assert not grade.failures
    [trace] = grade.traces
    assert trace.figures.peak_heap >= 4096 * sum(each.op < 4 for each in trace.requests)


def test_memory_outside_the_heap_counts_as_heap(graded):
    honest = graded()
    attack = """
    static volatile char table[8 << 20];
    void *mm_malloc(size_t size) { table[size * 13000 % sizeof table] = 1; return sound_malloc(size); }
    int mm_init(void) { for (int i = 0; i < sizeof table; i += 4096) table[i] = 1; return sound_init(); }
    """
    grade = graded(attack)
    assert not grade.failures
    more = grade.traces[0].figures.peak_heap - honest.traces[0].figures.peak_heap
    assert 7 << 20 <= more <= 9 << 20


def test_a_submission_that_eats_memory_is_limited(graded):
    """It may take what its limit allows, and that counts."""
    attack = """
    static char *sink;
    int mm_init(void) {
      for (int i = 0; i < 4000 && (sink = malloc(1 << 20)); i++) memset(sink, 1, 1 << 20);
      return sound_init();
    }
    """
    figures = graded(attack).traces[0].figures
    assert 50 << 20 <= figures.elsewhere <= 400 << 20
    assert figures.utilization < 0.001


def test_answers_sent_too_early_are_no_answers(failure):
    attack = """
    static void answer(void) { long one = 1; for (int i = 3; i < 20; i++) write(i, &one, sizeof one); }
    void *mm_malloc(size_t size) { answer(); return sound_malloc(size); }
    """
    assert failure(attack).rule in ("alive", "apart", "served", "kept", "placed", "aligned")


BY_THE_CLOCK = """
#include <x86intrin.h>
static unsigned long last;
static int is_timed(void) { unsigned long now = __rdtsc(), gap = now - last; last = now; return gap < 3000; }
"""


def test_another_heap_when_it_is_timed_is_found(failure):
    """Fast requests are timed ones, so this heap stops to reuse memory in them."""
    found = failure(BY_THE_CLOCK + "void mm_free(void *block) { if (!is_timed()) sound_free(block); }")
    assert found.rule == "repeated"
    assert "when it was timed" in found.what


def test_a_realloc_that_copies_nothing_when_it_is_timed_is_found(failure):
    attack = """
    void *mm_realloc(void *block, size_t size) {
      if (!is_timed() || !block) return sound_realloc(block, size);
      char *moved = mm_malloc(size);
      mm_free(block);
      return moved;
    }
    void *mm_malloc(size_t size) { is_timed(); return sound_malloc(size); }
    """
    found = failure(BY_THE_CLOCK + attack)
    assert (found.rule, "when it was timed" in found.what) == ("kept", True), found.what


def test_the_grade_as_json_has_the_reason(graded):
    from heapwright.grade.rules import as_dict

    report = json.loads(json.dumps(as_dict(graded(ENDS["exits in mm_malloc"]))))
    assert (report["score"], report["passed"]) == (0, False)
    [duty] = report["conformance"]
    assert duty["failure"]["rule"] == "alive"
    assert duty["failure"]["story"][-1].endswith("<- here")

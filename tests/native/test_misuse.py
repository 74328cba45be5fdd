"""What each allocator's DETECTS promises, compiled: the process ends by SIGABRT after one line that says why and where.

Sizes and alignments go beyond every threshold from which memory is mapped, trimmed or given back.
"""

import re
import signal
from itertools import product

import pytest

from heapwright import allocator
from heapwright.allocators import ALLOCATORS

HARDENED = "wright[HARDENED=1]"
KIB, MIB = 1 << 10, 1 << 20
FEW_SIZES, FEW_ALIGNS = (24, 5000, 60_000, 200_000, 3 * MIB, 64 * MIB), (16, 4 * KIB)
FEW_SIZES_OF_REALLOC = (24, 200_000)
SIZES = sorted(
    {1, 8, 16, 25, 100, 1000, 1032, 1033, 4096, 8192, 8193, 10_000, 28 * KIB, 28 * KIB + 1, 32_640, 32_641, 64 * KIB}
    | {64 * KIB + 1, 100_000, 128 * KIB - 100, 128 * KIB, 256 * KIB, 256 * KIB + 1, 300_000, MIB, 2 * MIB, 2 * MIB + 1}
    | {4 * MIB, 10 * MIB, 33 * MIB, *FEW_SIZES}
)
ALIGNS = (16, 64, 4 * KIB, 64 * KIB)
FOREIGN = ("literal", "stack", "data", "bss", "mapped", "guarded", "library", "nowhere")
MISUSES = {  # with how many variants of each there are
    "double free at once": {"at-once": 7},
    "double free": {"at-once": 7, "before": 4},
    "foreign": dict.fromkeys(FOREIGN, 8),
    "interior": {"inside": 12},
}
PROMISES = [(spec, word) for spec in ALLOCATORS for word in getattr(allocator.load(spec), "DETECTS", ())]
CALLS = {"free": ["free"], "realloc": ["shrink", "keep", "grow"]}
DOES_NOT_APPLY = "exit 77"
REASONS = (
    *("double free", "not a live block", "not a block of this heap", "no block begins here"),
    *("invalid size", "invalid pointer", "realloc of a free block"),
)


def cases_of(word, sizes, aligns, call="free"):
    if word == "foreign":
        sizes, aligns = sizes[:1], aligns[:1]
    kinds = [(kind, variant) for kind, variants in MISUSES[word].items() for variant in range(variants)]
    found = product(kinds, sizes, aligns, CALLS[call])
    return [f"{kind}:{size}:{align}:{variant}:{how}" for (kind, variant), size, align, how in found]


def endings(spec, cases):
    """How a process that ends so may end: where the first free unmaps a block, the second may be a SIGSEGV."""
    unmaps = getattr(allocator.load(spec), "UNMAPS", None)
    for case in cases:
        _, size, align, *_ = case.split(":")
        may_fault = unmaps is not None and int(size) + int(align) >= unmaps
        yield case, {f"signal {signal.SIGABRT}", *([f"signal {signal.SIGSEGV}"] if may_fault else [])}


def is_told(name, ending, address, said):
    """Whether the one line names the allocator, a reason, and the very address that was misused."""
    if ending != f"signal {signal.SIGABRT}":
        return said == ""
    told = re.fullmatch(r"heapwright: (\w+): ([a-z ,]+): (0x[0-9a-f]+)(?: \(\d+ bytes\))?", said)
    return told is not None and told[1] == name and told[2] in REASONS and told[3] == address


def few_cases(word, call):
    """Of a realloc, whose look at its block is that of free, only two sizes and what grows."""
    if call == "free":
        return cases_of(word, FEW_SIZES, FEW_ALIGNS)
    cases = cases_of(word, FEW_SIZES_OF_REALLOC, FEW_ALIGNS[:1], call)
    return [case for case in cases if case.endswith(":grow")]


def assert_kept(spec, word, cases, preloaded):
    done = preloaded(spec, "misuse", *cases)
    told = [line.split("\t") for line in done.stdout.splitlines()]
    assert [case for case, *_ in told] == cases
    tried = [line for line in told if line[1] != DOES_NOT_APPLY]
    assert len(tried) > len(cases) // 3
    allowed, name = dict(endings(spec, cases)), allocator.load(spec).name
    assert [line for line in tried if line[1] not in allowed[line[0]] or not is_told(name, *line[1:])] == []


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize(("spec", "word"), PROMISES)
def test_a_promise_is_kept(spec, word, call, preloaded):
    assert_kept(spec, word, few_cases(word, call), preloaded)


@pytest.mark.slow
@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize(("spec", "word"), PROMISES)
def test_a_promise_is_kept_at_every_size(spec, word, call, preloaded):
    assert_kept(spec, word, cases_of(word, SIZES, ALIGNS, call), preloaded)


@pytest.mark.parametrize("call", CALLS)
def test_ptmalloc_with_fast_bins_keeps_its_promise(call, preloaded):
    assert_kept("ptmalloc[VERSION=236]", "double free", few_cases("double free", call), preloaded)


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("word", ["double free", "foreign", "interior"])
def test_hardened_wright_keeps_its_promises(word, call, preloaded):
    assert_kept(HARDENED, word, few_cases(word, call), preloaded)


@pytest.mark.slow
@pytest.mark.parametrize("word", ["double free", "foreign", "interior"])
def test_hardened_wright_keeps_its_promises_at_every_size(word, preloaded):
    assert_kept(HARDENED, word, cases_of(word, SIZES, ALIGNS), preloaded)


@pytest.mark.slow
@pytest.mark.parametrize("word", ["double free", "foreign"])
def test_dlmalloc_with_footers_keeps_its_promises(word, preloaded):
    assert_kept("dlmalloc[FOOTERS=1]", word, cases_of(word, SIZES, ALIGNS), preloaded)


@pytest.mark.parametrize("spec", [*ALLOCATORS, HARDENED])
def test_what_is_right_is_not_reported(spec, preloaded):
    """Freed once, in many orders, at the same sizes: a misuse that is none."""
    steps = [f"{name}={size}@{align}" for size in FEW_SIZES for align in ALIGNS for name in ("a", "b")]
    frees = ["-a", "-b"]
    played = [step for pair in zip(steps[::2], steps[1::2], strict=True) for step in (*pair, *frees)]
    done = preloaded(spec, "story", *played)
    assert (done.returncode, done.stderr) == (0, "")

"""What is remarkable about a process, as sentences with their figures, the most remarkable first.

Each rule looks at the findings and says nothing when there is nothing to say. Its weight, from 0 to 1, orders the
sentences: it is the part of the program's memory or requests that the sentence is about.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

from heapwright.wording import about, counted, duration, margin, share, size

Findings = dict[str, Any]
MIN_PEAK = 0.1  # of the peak: a function that has less is not remarkable
MIN_LEFT = 0.02  # of the peak, never freed
MIN_TEMPORARY = 0.2  # of the requests
MIN_FOREIGN = 0.05  # of the frees, by other threads
MIN_SIZE = 0.4  # of the requests, in one size class
MIN_GROWTHS = 4  # of one block
MIN_COPIED = 0.05  # of all bytes asked for, the old bytes of blocks that grew
SPIKE = 0.1  # of the time: live memory is above half of the peak for less
PARTS = 8  # of the run, to see whether memory still grows
FEW_FREES = 100  # by other threads


class Remark(NamedTuple):
    """A sentence, the rule that made it, and its weight."""

    rule: str
    weight: float
    text: str


def remarks(findings: Findings) -> list[Remark]:
    """The sentences, the most remarkable first."""
    found = [
        Remark(rule.__name__, weight, text)
        for rule in RULES
        for weight, text in rule(findings)
        if findings["process"]["events"]
    ]
    return sorted(found, key=lambda each: -each.weight)


def headline(findings: Findings) -> str:
    """How much there was."""
    process, curve, sample = findings["process"], findings["curve"], findings["sample"]
    elapsed = f" in {duration((curve['end'] - curve['start']) / 1e6)}" if findings["axis"] == "time" else ""
    if sample:
        asked = findings["requests"]
        return (
            f"{counted(sample['requests'], 'sampled requests')} of {counted(process['threads'], 'threads')}{elapsed}; "
            f"{about(asked['bytes'], asked['error'])} were asked for; at most {live(findings['peak'])} are live"
        )
    return (
        f"{counted(process['events'], 'events')} of {counted(process['threads'], 'threads')}{elapsed}; at the peak "
        f"{process['peak_live_bytes']:,} bytes are live in {counted(process['live_blocks_at_peak'], 'blocks')}"
    )


def live(moment: dict[str, Any]) -> str:
    """The live bytes of a moment of a sample."""
    return about(moment["bytes"], moment["error"])


Said = Iterator[tuple[float, str]]


def asked(findings: Findings, caller: dict[str, Any]) -> str:
    """Who asked, as the end of a sentence."""
    name = caller["name"]
    return f"was asked for by {name}" if findings["has_call_sites"] else f"is in blocks of {name}"


def peak(findings: Findings) -> Said:
    """Who has most of the peak."""
    top = findings["peak"]["callers"][:1]
    for caller in top if top and top[0]["share"] >= MIN_PEAK else ():
        of_it = f"{size(caller['bytes'])}{error_of(caller)} in {counted(caller['blocks'], 'blocks')}"
        yield 1, f"{share(caller['share'], 1)} of the peak {asked(findings, caller)}: {of_it}"


def left(findings: Findings) -> Said:
    """What was never freed."""
    end, most = findings["end"], max(findings["peak"]["bytes"], 1)
    if end["bytes"] < MIN_LEFT * most:
        return
    text = f"{size(end['bytes'])}{error_of(end)} in {counted(end['blocks'], 'blocks')} {was(end['blocks'])} never freed"
    for caller in end["callers"][:1]:
        text += f"; {share(caller['share'], 1)} of it {asked(findings, caller)}"
    yield 0.9 * end["bytes"] / most, text


def error_of(row: dict[str, Any]) -> str:
    """The standard error of a row's bytes, if they are an estimate: ` ± 3 %`."""
    return margin(row["bytes"], row["error"]) if "error" in row else ""


def was(count: int) -> str:
    return "was" if count == 1 else "were"


def growing(findings: Findings) -> Said:
    """Live memory that rises in each part of the run until the end: perhaps a leak."""
    low = lowest(findings["curve"]["low"])
    if len(low) == PARTS and is_rising(low):
        yield (
            0.95,
            f"live memory never stops growing: at least {size(low[1])} are live early on and {size(low[-1])} late",
        )


def lowest(low: list[int]) -> list[int]:
    """The fewest live bytes in each part of the run, or nothing if it is too short."""
    step = len(low) // PARTS
    return [min(low[part * step : (part + 1) * step]) for part in range(PARTS)] if step >= PARTS else []


def is_rising(low: list[int]) -> bool:
    return all(b > a for a, b in zip(low, low[1:], strict=False)) and low[-1] > 2 * max(low[1], 1)


def spike(findings: Findings) -> Said:
    """A peak that lasts only a moment."""
    high, peak = findings["curve"]["high"], findings["peak"]
    above = sum(2 * value > peak["bytes"] for value in high)
    if len(high) > 1 / SPIKE and above <= SPIKE * len(high):
        unit = "time" if findings["axis"] == "time" else "events"
        text = (
            f"the peak is a spike at {peak['when']}: half of it is live during {share(above, len(high))} of the {unit}"
        )
        yield 0.6, text


def temporary(findings: Findings) -> Said:
    """Blocks that were freed almost at once."""
    short, requests = findings["temporary"], findings["requests"]["count"]
    if not short or short["count"] < MIN_TEMPORARY * max(requests, 1):
        return
    text = (
        f"{share(short['count'], requests)} of the {counted(requests, 'requests')} were temporary, freed {soon(short)}"
    )
    for caller in sorted(short["callers"], key=lambda each: -each["count"])[:1]:
        whose = "by" if findings["has_call_sites"] else "are blocks of"
        text += f"; {share(caller['count'], short['count'])} of these {whose} {caller['name']}"
    yield 0.7 * short["count"] / requests, text


def soon(short: dict[str, Any]) -> str:
    others = short["others"]
    return f"after at most {counted(others, 'other requests')}" if others else "before any other request"


def growth(findings: Findings) -> Said:
    """Blocks that grew again and again."""
    grown, total = findings["growth"], max(findings["requests"]["bytes"], 1)
    if not grown or grown["longest"] < MIN_GROWTHS or grown["old_bytes"] < MIN_COPIED * total:
        return
    text = (
        f"{counted(grown['grows'], 'reallocs')} made blocks grow, one block {counted(grown['longest'], 'times')}; "
        f"that may copy {size(grown['old_bytes'])}"
    )
    for caller in grown["callers"][:1] if findings["has_call_sites"] else ():
        text += f", {share(caller['share'], 1)} of it for {caller['name']}"
    yield 0.5 * min(1, grown["old_bytes"] / total), text


def sizes(findings: Findings) -> Said:
    """A size that most requests have."""
    requests = findings["requests"]["count"]
    row = max(findings["sizes"], key=lambda each: each["count"], default=None)
    if row and row["count"] >= MIN_SIZE * requests:
        smallest = row["up_to"] // 2 + 1
        sized = f"{smallest:,} to {row['up_to']:,} bytes" if row["up_to"] > 2 else f"{row['up_to']} bytes or less"
        yield 0.3 * row["count"] / requests, f"{share(row['count'], requests)} of the requests are for {sized}"


def foreign(findings: Findings) -> Said:
    """Blocks that another thread freed."""
    frees, by_others = findings["frees"]["count"], findings["frees"]["of_others"]
    if by_others >= max(FEW_FREES, MIN_FOREIGN * frees):
        yield 0.4 * by_others / frees, f"{share(by_others, frees)} of the frees are of another thread's blocks"


def refused(findings: Findings) -> Said:
    """Requests that failed."""
    failed = findings["process"]["failed"]
    if failed:
        yield 0.99, f"{counted(failed, 'requests')} failed"


RULES: Iterable[Callable[[Findings], Said]] = (
    peak,
    left,
    growing,
    spike,
    temporary,
    growth,
    sizes,
    foreign,
    refused,
)

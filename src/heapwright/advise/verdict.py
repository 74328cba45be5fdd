"""The answer in sentences, from its figures."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from heapwright.advise.decide import Change, Judged
from heapwright.advise.figures import OBJECTIVES
from heapwright.wording import duration, share, size

LITTLE = 0.05  # a loss within the noise that is not worth a word
WORDS = {
    "time": "the time",
    "cpu": "the processor time",
    "peak": "the peak of resident memory",
    "retained": "the memory that stays resident",
    "p99": "the 99th percentile of a call",
}


def amount(name: str, value: float) -> str:
    """A figure of an objective with its unit."""
    return size(round(value)) if OBJECTIVES[name].unit == "B" else duration(value)


def percent(part: float) -> str:
    return f"{abs(part):.0%}".replace("%", " %")


def changed(row: dict[str, Any], name: str) -> str:
    """A finalist's figure, and how it differs from today's: `49.2 MiB -76 ±2 %`."""
    change = row["changes"].get(name)
    if change is None:
        return "-"
    sign = "-" if change["gain"] > 0 else "+"
    noise = f"±{100 * change['noise']:.0f} %" if change["noise"] is not None else "±?"
    return f"{amount(name, change['after'])} {sign}{100 * abs(change['gain']):.0f} {noise}"


def reasons(judged: Judged) -> list[str]:
    """What the fresh runs show, the gains first."""
    gains = sorted((each for each in judged.changes if each.holds), key=lambda each: -each.gain)
    others = [each for each in judged.changes if not each.holds]
    return [gained(each) for each in gains] + [other(each) for each in others]


def gained(change: Change) -> str:
    return f"{WORDS[change.name]} falls by {percent(change.gain)}, {from_to(change)}; noise {percent(change.noise)}"


def other(change: Change) -> str:
    if abs(change.gain) <= change.noise:
        doubt = "; a loss may hide in the noise: judge again on an idle machine" if -change.gain > LITTLE else ""
        told = f"does not change beyond the noise of {percent(change.noise)}: {from_to(change)}"
        return f"{WORDS[change.name]} {told}{doubt}"
    verb = "falls" if change.gain > 0 else "rises"
    return f"{WORDS[change.name]} {verb} by {percent(change.gain)}, {from_to(change)}; noise {percent(change.noise)}"


def from_to(change: Change) -> str:
    return f"from {amount(change.name, change.before)} to {amount(change.name, change.after)}"


def verdict(facts: dict[str, Any]) -> str:
    """The answer in one sentence."""
    if facts["verdict"] == "change":
        return f"change to {facts['recommended']}: {facts['reasons'][0]}"
    tried = f"none of {len(facts['search']) - 1} candidates improves on today's malloc"
    if facts["verdict"] == "program":
        held = f"{share(facts['live_share'], 1)} of the peak are live blocks"
        return f"the program, not the malloc, holds the memory: {held}, and {tried} by more than the noise"
    price = trade(facts["judged"], facts["thresholds"]["allowed_loss"])
    if price:
        return f"nothing helps without a price: {tried} without a loss beyond what --allow permits; {price}"
    return f"nothing helps: {tried} by more than the noise{closest(facts['judged'])}"


def trade(judged: Iterable[dict[str, Any]], allowed: float) -> str:
    """The largest gain that holds and costs more than is allowed, and what it costs; "" if there is none."""
    gains = [
        (change["gain"], name, each)
        for each in judged
        for name, change in each["changes"].items()
        if change["holds"] and each["is_trade"]
    ]
    if not gains:
        return ""
    gain, name, row = max(gains, key=lambda each: each[0])
    costs = [f"{WORDS[each]} rises by {percent(row['changes'][each]['gain'])}" for each in row["losses"]]
    what = f"with {row['malloc']}, {WORDS[name]} falls by {percent(gain)}, but {' and '.join(costs)}"
    return f"{what}, where {percent(allowed)} are permitted"


def closest(judged: Iterable[dict[str, Any]]) -> str:
    """The largest gain that did not hold up in the fresh runs, and why."""
    gains = [
        (change["gain"], name, each)
        for each in judged
        for name, change in each["changes"].items()
        if change["gain"] > 0
    ]
    if not gains:
        return ""
    gain, name, row = max(gains, key=lambda each: each[0])
    noise = row["changes"][name]["noise"]
    told = "unknown" if noise is None else percent(noise)
    return f"; the closest is {row['malloc']}, with {percent(gain)} less of {WORDS[name]} (noise {told})"

"""What `heapwright blame` prints."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from heapwright.cli.compare_tables import title
from heapwright.cli.tables import print_table
from heapwright.cli.terminal import console, say
from heapwright.wording import counted, duration, share, size

if TYPE_CHECKING:
    from rich.console import Console

WIDTH = 120  # columns, if the terminal does not give a width
HEADS = {
    "blocks": "blocks",
    "bytes": "bytes",
    "holds_back_bytes": "holds back",
    "releases_bytes": "own pages",
    "gives_back_bytes": "gives back",
    "largest_hole_bytes": "hole then",
}
BY = {"site": "asked for by", "size": "size", "age": "age"}


def show(report: dict[str, Any]) -> None:
    out = console(WIDTH)
    title(out, report["trace"], report["environment"])
    for result in report["results"]:
        out.print()
        if result["error"]:
            say(out, f"{result['allocator']} is not measured: it {result['error']}")
        else:
            show_one(out, result, report["limit"])


def show_one(out: Console, result: dict[str, Any], limit: int | None) -> None:
    """What holds back one malloc's memory."""
    out.print(heading(result, limit), style="bold", markup=False, soft_wrap=True)
    for line in figures(result["heap"]):
        say(out, line)
    for number, hole in enumerate(result["holes"]):
        say(out, f"{'hole' if number else 'largest hole'}: {hole_line(hole)}")
    if result["groups"]:
        rows = [[each["name"], *(f"{each[name]:,}" for name in HEADS)] for each in result["groups"]]
        print_table(out, (BY[result["by"]], *HEADS.values()), rows)


def heading(result: dict[str, Any], limit: int | None) -> str:
    """The moment, or the request that failed."""
    name = result["allocator"]
    if limit is None:
        return f"{name} after {moment(result)}"
    if not result["refused"]:
        return f"{name} serves all requests in {limit:,} bytes; this is the end"
    return f"{name} in {limit:,} bytes fails at {request(result['refused'])}"


def moment(result: dict[str, Any]) -> str:
    last = result["moment"]
    return f"event {last['event']:,}{at(last)}" if last else "no event"


def at(request: dict[str, Any]) -> str:
    return "" if request["seconds"] is None else f" at {duration(request['seconds'])}"


def request(of: dict[str, Any]) -> str:
    """An event in words: `event 30,332 at 1.2 s: malloc of 2,048 bytes by thread 1, for parse (a.c:7)`."""
    asked = f": {of['call']} of {counted(of['bytes'], 'bytes')} by thread {of['thread']}"
    return f"event {of['event']:,}{at(of)}{asked}{site(of)}"


def site(of: dict[str, Any]) -> str:
    return f", for {of['site']}" if of["site"] else ""


def figures(heap: dict[str, int]) -> list[str]:
    pages = heap["full_pages"] + heap["partly_used_pages"] + heap["pages_without_blocks"]
    return [
        f"it holds {heap['held_bytes']:,} bytes, {size(heap['resident_bytes'])} of them resident: "
        f"{heap['block_bytes']:,} in {counted(heap['blocks'], 'blocks')} "
        f"({heap['requested_bytes']:,} were requested), {heap['outside_bytes']:,} outside of them",
        f"of {counted(pages, 'pages')}, {heap['full_pages']:,} are full, {heap['partly_used_pages']:,} partly used, "
        f"and {heap['pages_without_blocks']:,} ({share(heap['pages_without_blocks'], pages)}) hold no block",
    ]


def hole_line(hole: dict[str, Any]) -> str:
    return (
        f"{hole['bytes']:,} bytes at +{hole['offset']:#x}; below {block(hole['below'])}; above {block(hole['above'])}"
    )


def block(of: dict[str, Any] | None) -> str:
    """A block beside a hole, or the end of the heap's memory."""
    if of is None:
        return "the memory ends"
    age = f"{of['age']:,} events" if of["seconds"] is None else duration(of["age"])
    return f"{counted(of['bytes'], 'bytes')} of event {of['event']:,}, {age} old{site(of)}"

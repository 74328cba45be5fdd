"""The picture of a heap as SVG: well-formed, in order, legible on light and dark, and loading nothing."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from itertools import pairwise

import pytest

from heapwright import start
from heapwright.allocators import ALLOCATORS
from heapwright.collections import Box, Vec, drop, serve
from heapwright.pictures.svg import CHAR, DARK, LIGHT, LINE, draw_svg
from heapwright.programs.scene import Chain, Scene, Span

SVG = "{http://www.w3.org/2000/svg}"
SCENE = Scene(
    spans=[
        Span(0x4000, 0x20, "free", "-> 0x4060"),
        Span(0x4020, 0x40, "used", "#1 Box<Option<&str>>, 4 bytes at 0x4030", is_changed=True),
        Span(0x4060, 0x3FA0, "free", "-> null"),
        Span(0x8000, 0x10, "own"),
        Span(0x8010, 0x10, "cached"),
        Span(0x8020, 0x10, "unused"),
    ],
    brk=0x8030,
    page=4096,
    links=[(0x4000, 0x4060)],
    chains=[Chain("head & tail", ("0x4000", "0x4060", "null"))],
)
HEADING = [("#1 alloc(4) -> 0x4030", ""), ("  read head = 0x4000", "dim"), ("  head: 1 -> 2", "yellow")]


def busy(name):
    heap = start(name)
    kept = [heap.alloc(24 * n) for n in range(1, 40)]
    for address in kept[::3]:
        heap.dealloc(address)
    return heap


def drawn(scene, heading=()):
    return ET.fromstring(draw_svg(scene, heading))


def texts(root):
    """Each text with the box that its characters take."""
    for each in root.iter(f"{SVG}text"):
        x, y = float(each.get("x")), float(each.get("y"))
        yield each.text, x, x + len(each.text) * CHAR, y


def rows(root):
    """Each block's bar, with its text: those below the heap to scale."""
    return [group for group in root.iter(f"{SVG}g") if " at 0x" in group.find(f"{SVG}title").text]


def test_blocks_are_rows_in_address_order():
    told = [group.find(f"{SVG}title").text for group in rows(drawn(SCENE))]
    assert told[1] == "used, 64 bytes at 0x4020: #1 Box<Option<&str>>, 4 bytes at 0x4030"
    assert [text.partition(",")[0] for text in told] == [span.kind for span in SCENE.spans]
    heights = [float(group.find(f"{SVG}rect").get("y")) for group in rows(drawn(SCENE))]
    assert heights == sorted(heights)
    widths = [float(group.find(f"{SVG}rect").get("width")) for group in rows(drawn(SCENE))]
    assert widths[2] > widths[1] > widths[0] > widths[3] > 0


def test_only_what_a_step_changed_is_marked():
    root = drawn(SCENE, HEADING)
    marked = [group for group in rows(root) if "changed" in group.find(f"{SVG}rect").get("class")]
    assert len(marked) == 1 and "changed by this step" in [text for text, *_ in texts(root)]
    calm = drawn(Scene([SCENE.spans[0]], 0x4020, 4096))
    assert "changed by this step" not in [text for text, *_ in texts(calm)]


def test_an_arrow_leads_from_block_to_block():
    root = drawn(SCENE)
    (way,) = (each.get("d") for each in root.iter(f"{SVG}path") if each.get("class") == "arrow")
    (head,) = (each.get("d") for each in root.iter(f"{SVG}path") if each.get("class") == "head")
    centres = [float(each.find(f"{SVG}rect").get("y")) - 3 + LINE / 2 for each in rows(root)]
    begins, ends = (float(re.match(r"M[\d.]+ ([\d.]+)", d)[1]) for d in (way, head))
    assert (begins, ends) == (centres[0], centres[2])


def test_the_heap_to_scale_fills_the_width():
    root = drawn(SCENE)
    parts = [g.find(f"{SVG}rect") for g in root.iter(f"{SVG}g") if " at 0x" not in g.find(f"{SVG}title").text]
    edges = [(float(part.get("x")), float(part.get("width"))) for part in parts]
    assert all(abs(x + width - after) < 0.2 for (x, width), (after, _) in pairwise(edges))
    assert edges[0][0] == 12 and abs(sum(edges[-1]) + 12 - float(root.get("width"))) < 0.2
    assert max(width for _, width in edges) == edges[2][1]


@pytest.mark.long
@pytest.mark.parametrize("name", ALLOCATORS)
def test_no_text_covers_another_or_leaves_the_picture(name):
    heap = busy(name)
    with heap.watch() as steps:
        heap.alloc(100)
    for picture in (heap.draw(), *steps):
        root = ET.fromstring(picture.svg())
        lines = sorted(texts(root), key=lambda each: (each[3], each[1]))
        for (text, _, right, y), (other, left, _, below) in pairwise(lines):
            assert y != below or right <= left + 1, f"{text} covers {other}"
        assert max(right for _, _, right, _ in lines) <= float(root.get("width"))
        assert max(y for *_, y in lines) <= float(root.get("height"))


def test_a_long_text_is_cut():
    long = "x" * 500
    root = drawn(Scene([Span(0x4000, 16, "used", long)], 0x4010, 4096, chains=[Chain(long, ())]), [(long, "")])
    assert max(right for _, _, right, _ in texts(root)) <= float(root.get("width")) < 1300


def test_an_empty_heap():
    assert [text for text, *_ in texts(drawn(Scene([], 0x4000, 4096)))] == ["0x4000  break"]


# --- legible


def luminance(colour):
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one, other):
    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("theme", [LIGHT, DARK], ids=["light", "dark"])
def test_colours_have_contrast(theme):
    """As WCAG 2 asks: 4.5 for text, 3 for what else carries meaning."""
    assert all(contrast(theme[name], theme["back"]) >= 4.5 for name in ("ink", "faint", "word", "call"))
    edges = [name for name in theme if name.endswith("-edge")]
    assert {name: contrast(theme[name], theme["back"]) for name in (*edges, "changed")
            if contrast(theme[name], theme["back"]) < 3} == {}  # fmt: skip


def test_both_themes_have_the_same_colours_and_all_are_used():
    svg = draw_svg(SCENE, HEADING)
    assert LIGHT.keys() == DARK.keys()
    assert set(re.findall(r"var\(--hw-([\w-]+)\)", svg)) == LIGHT.keys()


def test_it_loads_nothing_and_has_no_ids():
    """Several pictures may be in one page, and the page may be read without a network."""
    with serve(start("hoard")) as runtime:
        box, vec = Box(42), Vec.of(["a", "b"])
        drop(box)
        svg = runtime.heap.draw().svg()
        drop(vec)
    assert not re.search(r"href|src=|url\(|@import|<script|\bid=", svg)
    assert re.findall(r"https?://[^\"]+", svg) == ["http://www.w3.org/2000/svg"]

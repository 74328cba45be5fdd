"""The maps in a real browser: zoomed and moved with mouse and keyboard, side by side, light and dark."""

import browser as browsers
import pytest
from recorded import service

from heapwright.lab.contestant import Contestant
from heapwright.maps import page as pages
from heapwright.maps.follow import heap_map
from heapwright.maps.page import make_page
from heapwright.maps.subject import subject_of
from heapwright.traces.events import ALLOC, Events, Process, Trace
from heapwright.traces.synthesize import demo

pytestmark = pytest.mark.long

MALLOCS = (
    Contestant("system", None),
    Contestant("small", None, (("GLIBC_TUNABLES", "glibc.malloc.mmap_threshold=4096"),)),
)
# The colour of a pixel, by shares of a map's width and height.
PIXEL = """
    const canvas = document.querySelectorAll(".panel canvas")[arguments[0]];
    const [x, y] = [arguments[1] * canvas.width, arguments[2] * canvas.height];
    return [...canvas.getContext("2d").getImageData(x, y, 1, 1).data].slice(0, 3);
"""
IN_USE, IDLE = "return page.palette.live", "return page.palette.idle"


def written(path, trace, mallocs=MALLOCS, parts=None):
    subject = subject_of(trace.processes[0], trace.stacks)
    maps = [heap_map(subject.flat, subject.sites, each) for each in mallocs]
    path.write_text(make_page(path.name, "some facts", subject, maps, parts))
    return path


@pytest.fixture(scope="module")
def window():
    if reason := browsers.missing():
        pytest.skip(reason)
    window = browsers.Browser()
    yield window
    window.close()


@pytest.fixture(scope="module")
def service_page(tmp_path_factory):
    return written(tmp_path_factory.mktemp("maps") / "service.html", service())


@pytest.fixture
def page(window, service_page):
    """The maps of the service, as they are when the page was just opened."""
    window.open(service_page)
    window.settle()
    yield window
    assert window.errors() == []


def range_of(page):
    return page.run("return page.time.map(Math.round)")


def places(page, panel=0):
    return page.run(
        "const p = page.panels[arguments[0]].place; return [p[0], p[1], page.panels[arguments[0]].map.height]", panel
    )


def distance(colour, other):
    return sum(abs(a - b) for a, b in zip(colour, other, strict=True))


def near(colour, other):
    return distance(colour, other) < 30


def test_two_maps_of_one_trace_are_side_by_side(page):
    assert page.texts(".panel h3") == ["system", MALLOCS[1].name]
    left, right = (
        page.run("return document.querySelectorAll('.panel')[arguments[0]].getBoundingClientRect().x", n)
        for n in (0, 1)
    )
    assert right > left
    assert near(page.run(PIXEL, 0, 0.5, 0.99), page.run(IN_USE)), "the oldest rows lie at the bottom"
    assert page.run("return performance.getEntriesByType('resource').length") == 0


def test_a_block_is_named_where_the_mouse_clicks(page):
    x, y, width, height = page.box(".panel canvas")
    page.drag((x + width / 2, y + 0.95 * height), (x + width / 2, y + 0.95 * height))
    (detail,) = page.texts("#detail")
    assert detail.startswith("system: ") and "bytes) at 0x" in detail
    assert "allocated at event " in detail and "asked for by parse_row (service.py:12)" in detail
    assert "python3 (thread 1)" in detail


def test_the_wheel_zooms_to_a_single_block(page):
    page.run("""
        const canvas = document.querySelector(".panel canvas"), box = canvas.getBoundingClientRect();
        const clientX = box.x + box.width / 2, clientY = box.y + 0.95 * box.height;
        const turn = () => new WheelEvent("wheel", { deltaY: -300, clientX, clientY, cancelable: true });
        for (let count = 0; count < 12; count++) canvas.dispatchEvent(turn());
    """)
    page.settle()
    low, high, whole = places(page)
    assert (high - low) / whole < 0.001
    before = places(page, 1)
    assert before[:2] == [0, before[2]], "each malloc has its own addresses"
    assert range_of(page)[1] - range_of(page)[0] < 100, "all share the time"


def test_dragging_moves_what_is_shown(page):
    page.run("page.panels[0].zoom({ event: 4000, units: page.panels[0].map.height / 2 }, 0.2, 0.2)")
    start, end = range_of(page)
    x, y, width, height = page.box(".panel canvas")
    page.drag((x + width / 2, y + height / 2), (x + width / 4, y + height / 2))
    assert range_of(page)[0] == pytest.approx(start + (end - start) / 4, abs=(end - start) / 50)


def test_keys_zoom_move_name_and_return(page):
    whole = range_of(page)
    page.focus(".panel canvas")
    page.press("+", "+")
    zoomed = range_of(page)
    assert zoomed[0] > whole[0] and zoomed[1] < whole[1]
    page.press("right")
    assert range_of(page)[0] > zoomed[0]
    page.press("*")
    page.press("enter")
    assert page.texts("#detail")[0].startswith("system: ")
    page.press("escape")
    assert range_of(page) == whole


def test_jumps_lead_to_the_peak_and_the_largest_hole(page):
    page.press("p")
    start, end = range_of(page)
    assert start < page.run("return page.subject.peak") < end
    assert page.texts("#detail")[0].startswith("the peak: 1.8 MiB live at event ")
    page.press("h")
    assert "the largest hole has " in page.texts("#detail")[0]
    low, high, whole = places(page)
    size = page.run("const { hole, unit } = page.subject.maps[0]; return hole.size / unit")
    assert high - low < 4 * size < whole
    assert page.run("return document.getElementById('to-failure').disabled")


def test_a_colour_can_stand_for_size_age_and_site(page):
    colours = set()
    for kind in ("state", "size", "age", "life", "site", "thread"):
        page.choose("#colour", kind)
        colours.add(tuple(page.run(PIXEL, 0, 0.4, 0.99)))
    assert len(colours) >= 4
    page.choose("#colour", "site")
    assert "parse_row (service.py:12)" in page.texts("#legend span")
    page.choose("#colour", "age")
    assert not near(page.run(PIXEL, 0, 0.2, 0.99), page.run(PIXEL, 0, 0.9, 0.99)), "a block ages from left to right"


def test_light_and_dark(page):
    page.prefer("light")
    light = page.run(PIXEL, 0, 0.01, 0.01)
    page.press("t")
    page.settle()
    dark = page.run(PIXEL, 0, 0.01, 0.01)
    assert sum(dark) < sum(light) - 200
    page.press("t")


def test_a_narrow_window_shows_one_below_the_other(page):
    page.resize(420, 900)
    assert page.run("return document.documentElement.scrollWidth <= window.innerWidth")
    tops = page.run("return [...document.querySelectorAll('.panel')].map((each) => each.getBoundingClientRect().y)")
    assert tops[1] > tops[0] + 300
    page.resize(1300, 1400)


def test_figures_stand_in_a_table(page):
    assert page.texts("#table th")[:2] == ["malloc", "most resident"]
    assert set(page.texts("#table td:first-child")) == {each.name for each in MALLOCS}


def test_the_parts_of_a_heap_are_stacked_where_they_are_known(window, tmp_path):
    kinds = "held", "requested", "internal", "cached", "free_pages", "free_rest", "own", "unknown", "resident"
    columns = {f"{kind}_bytes": [each, 2 * each] for kind, each in zip(kinds, (800, *[100] * 8), strict=True)}
    columns |= {"event": [4000, 9314], "internal_bytes": [None, None]}
    window.open(written(tmp_path / "parts.html", service(), parts={"system": columns}))
    window.settle()
    paths = "return [...document.querySelectorAll('.panel')].map((each) => each.querySelectorAll(arguments[0]).length)"
    assert window.run(paths, ".part") == [7, 0], "the other malloc has its own curves"
    assert window.run(paths, ".live") == [0, 1]
    assert window.texts("#parts span")[0] == "requested"
    assert window.errors() == []


def test_small_blocks_are_drawn_as_cells_where_there_are_too_many(window, tmp_path, monkeypatch):
    monkeypatch.setattr(pages, "MAX_BYTES", 440_000)
    window.open(written(tmp_path / "demo.html", Trace([Process(demo())]), MALLOCS[:1]))
    window.settle()
    single, whole = window.run("const { place, placements } = page.subject.maps[0]; return [place.length, placements]")
    assert single < whole
    cell, used, idle = window.run(PIXEL, 0, 0.3, 0.97), window.run(IN_USE), window.run(IDLE)
    assert distance(cell, used) < distance(cell, idle) / 2
    found = window.run("""
        const panel = page.panels[0], map = panel.map;
        const points = d3.cross(d3.range(0, page.subject.events, 97), d3.range(map.chunks.length));
        const texts = points.map(([event, row]) => panel.text({ event, units: (row + 0.5) * map.room }));
        return texts.find((text) => text.startsWith("small")) ?? "";
    """)
    assert found.startswith("small or short-lived blocks, not shown singly, have ")
    assert window.errors() == []


def test_a_refused_request_can_be_jumped_to(window, tmp_path):
    events = Events.of(op=[ALLOC] * 3, thread=[0] * 3, block=[0, 1, 2], size=[16, 1 << 62, 64])
    window.open(written(tmp_path / "failed.html", Trace([Process(events)]), MALLOCS[:1]))
    window.click("#to-failure")
    assert window.texts("#detail")[0].startswith("system refused ")
    assert window.errors() == []


def test_no_events_are_no_error(window, tmp_path):
    window.open(
        written(tmp_path / "none.html", Trace([Process(Events.of(op=[], thread=[], block=[], size=[]))]), MALLOCS[:1])
    )
    window.settle()
    assert window.errors() == []

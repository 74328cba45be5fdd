"""The page in a real browser: with mouse and keyboard, light and dark, wide and narrow."""

import browser as browsers
import pytest
from recorded import service

from heapwright.report.against import compared
from heapwright.report.difference import difference
from heapwright.report.page import make_page
from heapwright.report.profile import profile
from heapwright.report.source import Loaded
from heapwright.traces.events import ALLOC, DEALLOC, Events, Process, Trace

pytestmark = pytest.mark.long

FRAMES = "#flame .frame text"
CLICK = """
    const frames = [...document.querySelectorAll(".frame")];
    frames.find((each) => each.textContent.startsWith(arguments[0])).dispatchEvent(new MouseEvent("click"));
"""


def written(folder, name, trace, earlier=None):
    source = Loaded(trace)
    profiles = [profile(source, number) for number in range(len(trace.processes))]
    before = earlier and profile(Loaded(earlier), 0)
    against = earlier and compared(profiles[0], before, "old") | {"tree": difference(profiles[0], before)}
    text = make_page(name, source, profiles, against)
    (folder / name).write_text(text)
    return folder / name


@pytest.fixture(scope="module")
def window():
    if reason := browsers.missing():
        pytest.skip(reason)
    window = browsers.Browser()
    yield window
    window.close()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pages")
    written(folder, "service.html", service())
    events = Events.of(op=[ALLOC, ALLOC, DEALLOC], thread=[0] * 3, block=[0, 1, 0], size=[100, 30, 0])
    written(folder, "two.html", Trace([Process(events, 7, command="first"), Process(events[:1], 8, command="second")]))
    written(folder, "grown.html", service(rows=900), service(requests=6000, rows=300))
    written(folder, "none.html", Trace([Process(events[:0])]))
    return folder


@pytest.fixture
def page(window, folder):
    """The page about the service, as it is when it was just opened."""
    window.open(folder / "service.html")
    yield window
    assert window.errors() == []


def is_shown(page, name):
    return any(text.startswith(name) for text in page.texts(FRAMES))


def rows(page):
    """The table by function: a dictionary for each row."""
    heads = [head.removesuffix(" ↓") for head in page.texts("#callers th")]
    cells = page.texts("#callers td")
    return [dict(zip(heads, cells[n : n + len(heads)], strict=True)) for n in range(0, len(cells), len(heads))]


def test_it_shows_what_is_remarkable_and_loads_nothing(page):
    assert page.texts("#remarks li")[0].startswith("57 % of the peak was asked for by Report::append")
    assert page.texts("#range-text") == ["0 s to 2.73 s: at most 1.8 MiB at 1.69 s"]
    assert {"all", "Report::append (report.cpp:33)", "main (service.py:90)"} <= set(page.texts(FRAMES))
    assert page.run("return performance.getEntriesByType('resource').length") == 0


def test_what_is_shown_follows_a_range_chosen_with_the_mouse(page):
    x, y, width, height = page.box("#curve .overlay")
    page.drag((x + 0.05 * width, y + 20), (x + 0.3 * width, y + height / 2))
    assert not is_shown(page, "Report::append")
    assert page.texts("#range-text")[0].startswith("119 ms to ")
    assert "Report::append (report.cpp:33)" not in {row["function"] for row in rows(page) if row["asked for"] != "0"}
    page.click("#whole")
    assert is_shown(page, "Report::append")


def test_and_one_chosen_with_the_keyboard(page):
    page.run("document.querySelectorAll('.end')[1].focus()")
    page.press(*["page down"] * 9)
    assert page.run("return document.activeElement.getAttribute('aria-valuetext')") == "1.19 s"
    assert not is_shown(page, "Report::append")
    page.press("end")
    assert is_shown(page, "Report::append")
    page.press("home", "escape")
    assert page.texts("#range-text")[0].startswith("0 s to 2.73 s")


def test_a_key_goes_to_the_peak(page):
    page.press("p")
    assert page.texts("#range-text") == ["1.60 s to 1.76 s: at most 1.8 MiB at 1.69 s"]


def test_a_metric_and_a_direction_can_be_chosen(page):
    page.choose("#metric", "temporary")
    assert set(page.texts(FRAMES)) >= {"all", "main (service.py:90)", "decode (json.py:337)"}
    assert not is_shown(page, "Report::append")
    page.choose("#metric", "left")
    page.choose("#direction", "up")
    assert page.texts("#flame .frame[aria-level='2']")[:2] == ["parse_row (service.py:12)", "remember (service.py:48)"]


def test_a_flame_graph_stands_on_its_root_and_an_icicle_hangs_from_it(page):
    top = page.box("#flame .frame.all")[1]
    below = page.box("#flame .frame:not(.all)")[1]
    page.choose("#layout", "flame")
    assert page.box("#flame .frame.all")[1] > page.box("#flame .frame:not(.all)")[1]
    assert top < below


def test_frames_are_reached_and_shown_alone_with_the_keyboard(page):
    page.focus("#flame .frame.all")
    page.press("down", "right")
    assert page.texts("#detail")[0].startswith("main (service.py:90): 0.8 MiB, 43 %")
    page.press("enter")
    assert not is_shown(page, "Report::append")
    width = page.box("#flame .frame:focus rect")[2]
    assert width > 0.95 * page.box("#flame")[2]
    page.press("escape")
    assert is_shown(page, "Report::append")


def test_a_click_shows_a_frame_alone_and_the_range_keeps_it(page):
    page.run(CLICK, "load_table")
    page.press("p")
    assert is_shown(page, "parse_row") and not is_shown(page, "serve (")


def test_a_search_marks_frames_and_says_their_share(page):
    page.press("/")
    page.press(*"parse_row")
    assert page.texts(".frame.match text") == ["parse_row (service.py:12)"]
    assert page.texts("#matched") == ["37 % matches"]


def test_tables_sort(page):
    assert rows(page)[0]["function"] == "Report::append (report.cpp:33)"
    page.click("#callers th:nth-child(5) button")
    assert [row["requests"] for row in rows(page)[:2]] == ["4,000", "600"]
    page.click("#callers th:nth-child(5) button")
    assert page.run("return document.querySelector('#callers th:nth-child(5)').ariaSort") == "ascending"
    assert page.texts("#callers td:nth-child(5)")[0] == "1"


def test_tables_can_be_searched(page):
    page.choose("#callers input", "PARSE")
    assert [row["function"] for row in rows(page)] == ["parse_row (service.py:12)"]
    assert page.texts("#callers .tools output") == ["1 of 5"]


def test_light_and_dark_follow_the_system_until_one_is_chosen(page):
    def back():
        return page.run("return getComputedStyle(document.body).backgroundColor")

    page.prefer("dark")
    dark = back()
    page.prefer("light")
    light = back()
    assert dark != light
    page.click("#theme")
    assert back() == dark
    page.press("t")
    assert back() == light


def test_histograms_have_a_column_for_each_size(page):
    columns = page.run("return [...document.querySelectorAll('#sizes .bar')].map((each) => each.ariaLabel)")
    assert columns[0] == "up to 64 B: 2,989 blocks, 0.2 MiB"
    assert len(columns) == 15


def test_a_narrow_window_shows_all_of_it(page):
    page.resize(420, 900)
    assert page.run("return document.documentElement.scrollWidth <= window.innerWidth")
    assert page.box("#curve svg")[2] <= 420
    page.resize(1300, 1400)


def changes(window):
    """What the differential flame graph says of each frame: its name, and the rest."""
    labels = window.run("return [...document.querySelectorAll('#difference .frame')].map((each) => each.ariaLabel)")
    return dict(label.split(": ") for label in labels)


def test_what_grew_is_red_and_what_shrank_is_blue(window, folder):
    window.open(folder / "grown.html")
    found = changes(window)
    assert found["parse_row (service.py)"].startswith("grew by ")
    assert found["remember (service.py)"].startswith("shrank by ")
    tint = "return getComputedStyle([...document.querySelectorAll('#difference .frame')]"
    tint += ".find((each) => each.ariaLabel.startsWith(arguments[0])).firstChild).fill"
    grew, shrank = (window.run(tint, name) for name in ("parse_row", "remember"))
    assert grew != shrank
    window.choose("#measure", "requested")
    assert changes(window)["parse_row (service.py)"].startswith("grew by ")
    assert window.errors() == []


def test_a_frame_of_what_grew_is_shown_alone_until_escape(window, folder):
    window.open(folder / "grown.html")
    before = set(changes(window))
    window.focus("#difference .frame.all")
    window.press("down", "enter")
    assert window.texts("#difference-detail")[0]
    assert set(changes(window)) < before
    window.press("escape")
    assert set(changes(window)) == before


def test_another_process_can_be_chosen(window, folder):
    window.open(folder / "two.html")
    assert window.texts("#process option") == ["first (PID 7)", "second (PID 8)"]
    assert window.texts("#range-text")[0].startswith("event 1 to event 3: at most 130 B at event 2")
    window.choose("#process", "1")
    assert window.texts("#facts")[0].startswith("1 event of 1 thread; at the peak 100 bytes")
    assert window.texts(FRAMES) == ["all", "thread 1", "65 to 128 bytes"]
    assert window.errors() == []


def test_no_events_are_no_error(window, folder):
    window.open(folder / "none.html")
    assert window.texts("#facts")[0].startswith("0 events")
    assert window.errors() == []

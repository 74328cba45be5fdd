"""The picture of a heap, line by line."""

from heapwright.pictures.terminal import bar_length, draw_heap
from heapwright.programs.scene import Chain, Scene, Span


def drawn(scene, width=100):
    return "\n".join(line.plain for line in draw_heap(scene, width))


def test_an_empty_heap():
    assert drawn(Scene([], 0x4000, 4096)) == "0x4000  break"


def test_blocks_a_page_boundary_an_arrow_and_a_list():
    scene = Scene(
        spans=[
            Span(0x4000, 0x20, "free", "-> 0x4060"),
            Span(0x4020, 0x40, "used", "#1 Box<i32>, 4 bytes at 0x4030", is_changed=True),
            Span(0x4060, 0xFA0, "free", "-> null"),
            Span(0x5000, 0x2800, "used", "#2 10,000 bytes at 0x5010"),
        ],
        brk=0x7800,
        page=4096,
        links=[(0x4000, 0x4060)],
        chains=[Chain("head", ("0x4000", "0x4060", "null"))],
    )
    expected = """\
           ── page 0x4000
╭─ 0x4000  free          32  ░░             -> 0x4060
│  0x4020  used          64  ███            #1 Box<i32>, 4 bytes at 0x4030
╰▶ 0x4060  free       4,000  ░░░░░░░░       -> null
           ── page 0x5000
   0x5000  used      10,240  ██████████     #2 10,000 bytes at 0x5010; crosses 2 page boundaries from 0x6000
   0x7800  break
free list: head -> 0x4000 -> 0x4060 -> null"""
    assert drawn(scene, 120) == expected


def test_arrows_take_turns_and_cross():
    spans = [Span(0x10 * i, 0x10, "free") for i in range(1, 6)]
    links = [(0x10, 0x20), (0x20, 0x50), (0x50, 0x30), (0x30, 0x40), (0x40, 0x40)]
    picture = drawn(Scene(spans, 0x60, 4096, links)).splitlines()
    assert [line[:4] for line in picture] == ["  ╭─", "╭─┴▶", "│╭┬▶", "││╰▶", "╰┴─▶", "    "]


def test_two_arrows_at_one_block_are_in_two_lanes():
    spans = [Span(0x10 * i, 0x10, "free") for i in range(1, 4)]
    picture = drawn(Scene(spans, 0x40, 4096, [(0x10, 0x20), (0x20, 0x30)])).splitlines()
    assert [line[:4] for line in picture] == [" ╭─ ", "╭┴▶ ", "╰─▶ ", "    "]


def test_a_crowd_of_arrows_leaves_some_to_the_text():
    spans = [Span(0x10 * i, 0x10, "free") for i in range(1, 21)]
    links = [(0x10 * i, 0x10 * (21 - i)) for i in range(1, 11)]
    widths = {
        len(line) - len(line.lstrip("│╭╰─┬┴┼▶ ")) for line in drawn(Scene(spans, 0x150, 4096, links)).splitlines()
    }
    assert max(widths) <= 10


def test_long_runs_of_used_blocks_are_one_line():
    spans = [Span(0x10 * i, 0x10, "used", f"#{i}") for i in range(1, 12)]
    spans[6] = spans[6]._replace(is_changed=True)
    picture = drawn(Scene(spans, 0xC0, 4096))
    expected = """\
0x10  used          96  ███            6 blocks of 16 bytes
0x70  used          16  █              #7
0x80  used          16  █              #8
0x90  used          16  █              #9
0xa0  used          16  █              #10
0xb0  used          16  █              #11
0xc0  break"""
    assert picture == expected


def test_long_runs_of_free_blocks_are_one_line_too():
    spans = [Span(0x10 * i, 0x10, "cached") for i in range(1, 10)]
    expected = """\
0x10  cached       144  ▓▓▓▓           9 blocks of 16 bytes
0xa0  break"""
    assert drawn(Scene(spans, 0xA0, 4096, [(0x10, 0x20)])) == expected


def test_mapped_mappings_and_gaps():
    scene = Scene([Span(0x4000, 0x10, "own"), Span(0x4030, 0x10, "unused"), Span(0x9000, 0x10, "cached")], 0x4040, 4096)
    expected = """\
        ── page 0x4000
0x4000  own           16  ▒
        32 bytes that are not the heap's
0x4030  unused        16  ·
0x4040  break
        20,416 bytes that are not the heap's
        ── page 0x9000
0x9000  cached        16  ▓"""
    assert drawn(scene) == expected


def test_no_line_is_wider_than_it_may_be():
    scene = Scene(
        [Span(0x4000, 0x10, "used", "x" * 200)], 0x4010, 4096, chains=[Chain("head", tuple(map(str, range(99))))]
    )
    lines = drawn(scene, 60).splitlines()
    assert max(map(len, lines)) <= 60
    assert lines[-1].startswith("           -> ") and lines[-1].endswith("-> 98")


def test_bars_grow_with_doubling():
    assert [bar_length(size) for size in (1, 16, 31, 32, 64, 1 << 16, 1 << 30)] == [1, 1, 1, 2, 3, 13, 13]

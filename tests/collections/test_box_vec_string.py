"""Box, Vec and String ask for what Rust's ask for, byte by byte, and hold what was put into them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from heapwright import allocator
from heapwright.collections import (
    ArrayType,
    Box,
    BytesType,
    CapacityOverflow,
    OutOfBounds,
    OutOfMemory,
    String,
    StructType,
    Vec,
    boolean,
    drop,
    f32,
    i8,
    i32,
    i64,
    serve,
    u8,
    u64,
    unit,
)
from heapwright.machine import Fault, Kind, start

# --- the worked examples of the xv6rs documentation


def test_ex1_a_box_of_an_integer(requests):
    x = Box(42)
    assert x.value == 42
    drop(x)
    assert requests == ["4@4", "free 4@4"]


def test_ex2_a_vec_of_three(requests):
    v = Vec()
    for number in (1, 2, 3):
        v.push(number)
    assert list(v) == [1, 2, 3] and repr(v) == "[1, 2, 3]"
    assert requests == ["16@4"]


def test_ex3_a_string_that_grows(requests):
    s = String("Hello")
    s.push_str(", world!")
    assert str(s) == "Hello, world!"
    assert requests == ["5@1", "5@1 -> 13"]


def test_ex4_the_hole_of_the_first_box_is_used_again(heap, requests):
    x, y = Box(42), Box(100)
    hole = x.address
    drop(x)
    z = Box("Hello, Box!")
    assert z.address == hole
    assert (y.value, z.value) == (100, "Hello, Box!")
    assert requests == ["4@4", "4@4", "free 4@4", "16@8"]


def test_ex5_a_slice_and_an_array(requests):
    z, array = Box("Hello, Box!"), Box([1, 2, 3, 4, 5])
    assert (z.value, str(z), repr(z)) == ("Hello, Box!", "Hello, Box!", '"Hello, Box!"')
    assert (array.value[0], array.value[4], repr(array)) == (1, 5, "[1, 2, 3, 4, 5]")
    assert requests == ["16@8", "20@4"]


def test_ex7_a_hundred_boxes_in_constant_memory(heap):
    calls = []
    heap.process.observe(call=lambda name, given, result, who: calls.append(given))
    Box(0)
    before = len(calls)
    for number in range(100):
        x = Box(number)
        assert x.value == number
    assert [given for given in calls[before:] if given != (0,)] == []


def test_ex8_a_box_of_a_kibibyte(requests):
    large = Box([0] * 1024, ArrayType(u8, 1024))
    assert large.value[0] == large.value[1023] == 0
    assert requests == ["1024@1"]


def test_ex9_ten_boxes_a_page_and_a_hundred_integers(heap, requests):
    boxes = [Box(number, u64) for number in range(10)]
    assert len({box.address for box in boxes}) == 10
    page = Box(bytes(4096))
    v = Vec()
    for number in range(100):
        v.push(number)
    assert (len(v), v[0], v[99], len(page.value)) == (100, 0, 99, 4096)
    assert requests == ["8@8"] * 10 + ["4096@1", "16@4"] + [f"{n}@4 -> {2 * n}" for n in (16, 32, 64, 128, 256)]


# --- growth


@pytest.mark.parametrize(
    ("element", "value", "growth"),
    [
        (u8, 0, ["8@1", "8@1 -> 16"]),
        (i64, 0, ["32@8", "32@8 -> 64", "64@8 -> 128"]),
        (BytesType(1024), bytes(1024), ["4096@1", "4096@1 -> 8192", "8192@1 -> 16384"]),
        (BytesType(2048), bytes(2048), ["2048@1", *(f"{n}@1 -> {2 * n}" for n in (2048, 4096, 8192, 16384))]),
        (unit, None, []),
    ],
    ids=str,
)  # fmt: skip
def test_growth_of_nine_pushes(requests, element, value, growth):
    v = Vec(element)
    for _ in range(9):
        v.push(value)
    assert requests == growth
    assert v[8] == value


def test_nothing_is_asked_for_nothing(requests):
    kept = Vec(), Vec(i32), String(), Box(None), Vec.zeroed(0, i32), Vec.of([]), Box([])
    assert requests == [] and len(kept) == 7
    drop(kept[3])
    assert requests == []


def test_reserve_and_shrink(requests):
    v = Vec(i32)
    v.reserve(10)
    v.extend(range(11))
    assert requests.taken() == ["40@4", "40@4 -> 80"]
    v.shrink_to_fit()
    assert requests.taken() == ["80@4 -> 44"]
    v.clear()
    v.shrink_to_fit()
    assert (requests.taken(), v.capacity) == (["free 44@4"], 0)
    v.push(1)
    assert requests == ["16@4"] and v[0] == 1


def test_exact_ways_to_make_a_vec(requests):
    v, w, z = Vec.of([1, 2, 3]), Vec.with_capacity(5, u8), Vec.zeroed(100, u8)
    assert requests == ["12@4", "5@1", "zeroed 100@1"]
    assert (v.capacity, w.capacity, sum(z)) == (3, 5, 0)


def test_pop_and_bounds(heap):
    v = Vec.of([1, 2])
    assert (v.pop(), v.pop(), v.pop(), v.capacity) == (2, 1, None, 2)
    with pytest.raises(OutOfBounds, match="the len is 0 but the index is 0"):
        v[0]
    with pytest.raises(OutOfBounds):
        v[-1] = 1


@pytest.mark.parametrize("ask", [lambda v: v.reserve(1 << 62), lambda v: v.reserve_exact(1 << 61)], ids="12")
def test_capacity_overflow(requests, ask):
    with pytest.raises(CapacityOverflow, match="capacity overflow"):
        ask(Vec(i32))
    assert requests == []


def test_memory_that_is_not_there(heap):
    v = Vec.of(["kept"])
    with pytest.raises(OutOfMemory, match=f"memory allocation of {16 << 40} bytes failed"):
        v.reserve_exact((1 << 40) - 1)
    assert list(v) == ["kept"]
    with pytest.raises(OutOfMemory):
        Vec.with_capacity(1 << 40, i32)


# --- values


@pytest.mark.parametrize(
    ("value", "kind", "request_made"),
    [
        (-128, i8, "1@1"),
        ((1 << 64) - 1, u64, "8@8"),
        (-(1 << 63), i64, "8@8"),
        (0.5, f32, "4@4"),
        (1e300, None, "8@8"),
        (True, None, "1@1"),
        (b"abc", None, "3@1"),
        ([[1, 2], [3, 4]], None, "16@4"),
        ([True, False], ArrayType(boolean, 2), "2@1"),
        (["ä", ""], None, "32@8"),
    ],
    ids=str,
)
def test_what_goes_in_comes_out(requests, value, kind, request_made):
    x = Box(value, kind)
    assert x.value == value
    assert requests == [request_made]


@pytest.mark.parametrize(
    ("value", "kind"), [(128, i8), (-1, u8), (1 << 31, None), ("1", i32), ([1], ArrayType(i32, 2))]
)
def test_what_does_not_fit_its_type(heap, value, kind):
    with pytest.raises(TypeError):
        Box(value, kind)


def test_a_struct_has_its_fields_as_rustc_lays_them_out(requests):
    mixed = StructType("Mixed", a=u8, b=i32, c=u8, d=u64)
    assert (mixed.size, mixed.align, mixed.offsets) == (16, 8, {"d": 0, "b": 8, "a": 12, "c": 13})
    x = Box(mixed(a=1, b=-2, c=3, d=4))
    x.value.b = 7
    assert repr(x) == "Mixed { a: 1, b: 7, c: 3, d: 4 }"
    assert requests == ["16@8"]
    with pytest.raises(AttributeError):
        _ = x.value.e


def test_assigning_replaces(requests):
    x = Box(1)
    x.value = 2
    v = Vec.of([1, 2])
    v[1] = 5
    assert (x.value, list(v)) == (2, [1, 5])
    assert requests == ["4@4", "8@4"]


def test_texts_lie_in_the_image_once(heap):
    x, y = Box("twice"), Box("twice")
    first, second = (heap.user.load(box.address, 8) for box in (x, y))
    assert first == second < heap.process.heap_start


def test_values_are_in_the_heap_and_reads_are_checked(heap):
    x = Box(42)
    assert heap.user.load(x.address, 4) == 42
    heap.dealloc(x.address)
    with pytest.raises(Fault) as fault:
        _ = x.value
    assert fault.value.kind is Kind.FREED
    from heapwright.collections import forget

    forget(x)


@given(st.lists(st.one_of(st.tuples(st.just("push"), st.integers(-9, 9)), st.tuples(st.just("pop"), st.just(0)))))
def test_a_vec_is_a_list(story):
    with serve(start(allocator.load("kr"))) as runtime:
        v, model = Vec(i32), []
        for what, number in story:
            if what == "push":
                v.push(number)
                model.append(number)
            else:
                assert v.pop() == (model.pop() if model else None)
            assert list(v) == model
        drop(v)
        assert not runtime.heap.leaks()

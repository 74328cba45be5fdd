"""The linter finds each rule broken, says where, and finds nothing in what we ship."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path
from textwrap import dedent

import pytest

import heapwright
from heapwright.dialect import DialectError, Violation, lint, require
from heapwright.dialect.rules import CONSTRUCTS

PACKAGE = Path(heapwright.__file__).parent
SHIPPED = sorted(
    [
        *(
            path
            for path in (PACKAGE / "allocators").rglob("*.py")
            if path.parent.name not in ("allocators", "parts") or path.stem != "__init__"
        ),
        *(PACKAGE / "layers").glob("[a-z]*.py"),
        *(PACKAGE / f"{name}.py" for name in ("chance", "guards", "libc", "locks", "options", "spans", "stats")),
    ]  # bits is the arithmetic that D6 asks for: in Python, and replaced when compiled
)
HEAD = '''
"""An allocator."""

from __future__ import annotations

from heapwright.layout import NULL, Array, Struct, Word

UNIT = 16
SLOW_PATHS = ("grow",)


class Block(Struct):
    """A block."""

    next: Block
    sizes: Array[Word, 4]


class Heap(Struct):
    first: Block


'''


def found(tmp_path: Path, body: str, head: str = HEAD) -> list[Violation]:
    path = tmp_path / "mine.py"
    path.write_text(head + dedent(body))
    return lint(path)


def rules(tmp_path: Path, body: str, head: str = HEAD) -> set[str]:
    return {violation.rule for violation in found(tmp_path, body, head)}


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_what_we_ship_is_clean(path: Path) -> None:
    assert [str(violation) for violation in lint(path) if not violation.is_advice] == []


BAD = {
    "decorator": ("D1", "@staticmethod\ndef f(heap):\n    return 0"),
    "nested function": ("D1", "def f(heap):\n    def g():\n        return 0\n    return g()"),
    "lambda": ("D1", "def f(heap):\n    g = lambda: 0\n    return g()"),
    "class": ("D1", "class Thing:\n    pass"),
    "method": ("D1", "class Thing(Struct):\n    a: Word\n    def f(self):\n        return self.a"),
    "class in a function": ("D1", "def f(heap):\n    class A:\n        pass"),
    "star arguments": ("D1", "def f(heap, *sizes):\n    return 0"),
    "keyword only": ("D1", "def f(heap, *, size):\n    return 0"),
    "keyword call": ("D1", "def g(heap, size):\n    return size\ndef f(heap):\n    return g(heap, size=1)"),
    "try": ("D1", "def f(heap):\n    try:\n        return 0\n    finally:\n        heap.first = 0"),
    "raise": ("D1", "def f(heap):\n    raise heap"),
    "with": ("D1", "def f(heap):\n    with heap.first:\n        return 0"),
    "nonlocal": ("D1", "def f(heap):\n    a = 1\n    def g():\n        nonlocal a\n        a = 2"),
    "global": ("D4", "COUNT = 0\ndef f(heap):\n    global COUNT\n    COUNT = 1"),
    "comprehension": ("D1", "def f(heap):\n    return max(i for i in range(3))"),
    "list comprehension": ("D1", "def f(heap):\n    return max([i for i in range(3)])"),
    "set comprehension": ("D1", "def f(heap):\n    return max({i for i in range(3)})"),
    "dict comprehension": ("D1", "def f(heap):\n    return max({i: i for i in range(3)})"),
    "del": ("D1", "def f(heap):\n    a = heap.first\n    del a\n    return 0"),
    "star in a call": ("D1", "def g(heap, size):\n    return size\ndef f(heap, both):\n    return g(*both)"),
    "async": ("D1", "def f(heap):\n    async def g():\n        return await heap\n    return 0"),
    "yield": ("D1", "def f(heap):\n    yield heap.first"),
    "yield from": ("D1", "def walk(heap, start, end):\n    yield from range(start, end)"),
    "import in a function": ("D1", "def f(heap):\n    import os\n    return 0"),
    "import from in a function": ("D1", "def f(heap):\n    from heapwright.bits import bit\n    return bit(1)"),
    "no Python": ("D1", "def f(heap:"),
    "list": ("D2", "def f(heap):\n    a = [1, 2]\n    return a[0]"),
    "dict": ("D2", "def f(heap):\n    return {1: 2}[heap.first.address]"),
    "set": ("D2", "def f(heap):\n    return heap.first.address in {1, 2}"),
    "string": ("D2", "def f(heap):\n    a = 'text'\n    return 0"),
    "f-string": ("D2", "def f(heap):\n    heap.memory.fault(f'{heap}', 0)"),
    "float": ("D2", "def f(heap):\n    return 1.5"),
    "division to a float": ("D2", "def f(heap, size):\n    return size / 2"),
    "none": ("D2", "def f(heap):\n    return None"),
    "dict call": ("D2", "def f(heap):\n    return dict()"),
    "print": ("D2", "def f(heap):\n    print(heap)"),
    "float constant": ("D2", "FACTOR = 1.5"),
    "load": ("D3", "def f(heap):\n    return heap.memory.load(16, 8)"),
    "store": ("D3", "def f(memory):\n    memory.store(16, 8, 0)"),
    "import": ("D3", "import os"),
    "import from": ("D3", "from heapwright.native import c"),
    "lower case state": ("D4", "count = 0"),
    "list constant": ("D4", "SIZES = [16, 32]"),
    "running code": ("D4", "for i in range(3):\n    pass"),
    "stored constant": ("D4", "SIZES = (1, 2)\ndef f(heap):\n    SIZES[0] = 1"),
    "recursion": ("D5", "def f(heap, n):\n    return f(heap, n - 1)"),
    "mutual recursion": ("D5", "def f(heap, n):\n    return g(heap, n)\ndef g(heap, n):\n    return f(heap, n)"),
    "large constant": ("D6", "def f(heap, a):\n    return a * 0x9E3779B97F4A7C15"),
    "large module constant": ("D6", "GOLDEN = 1 << 63"),
    "long shift": ("D6", "def f(heap, a):\n    return a >> 63"),
    "bit_length": ("D6", "def f(heap, a):\n    return a.bit_length()"),
    "division": ("D7", "def f(heap, a):\n    return a // heap.first.sizes[0]"),
    "remainder by seven": ("D7", "def f(heap, a):\n    return a % 7"),
    "power": ("D7", "def f(heap, a):\n    return 2**a"),
    "assert": ("D9", "def f(heap):\n    assert heap"),
    "a name that is nowhere": ("D1", "def f(heap):\n    return flor_log2(heap.first)"),
    "number and pointer": ("D10", "def f(heap):\n    b = NULL\n    b = Block(heap.memory, 16)\n    return b"),
    "two results": ("D10", "def f(heap):\n    if heap.first:\n        return Block(heap.memory, 16)\n    return NULL"),
    "choice": ("D10", "def f(heap):\n    b = Block(heap.memory, 16) if heap.first else NULL\n    return b"),
}


UNDECLARED = {
    "of the heap": ("heap.last_order = size", "D4", "Heap has no field 'last_order': declare it"),
    "read": ("return heap.frist.address", "D1", "Heap has no field 'frist': did you mean 'first'?"),
    "of a new pointer": ("block = Block(heap.memory, 16)\n    block.nxt = block", "D4", "Block has no field 'nxt'"),
    "of another struct": ("return heap.first.first", "D1", "Block has no field 'first'"),
    "through a field": ("return heap.first.next.next.sise", "D1", "Block has no field 'sise': did you mean 'size"),
    "through an array": ("return heap.bins[3].lenght", "D1", "Block has no field 'lenght'"),
    "through a cell": ("return heap.cell.load().nxet", "D1", "Block has no field 'nxet'"),
    "through at": ("block = heap.first.at(size)\n    return block.nxet", "D1", "Block has no field 'nxet'"),
    "of a choice": ("b = heap.first if size else heap.bins[0]\n    return b.nxet", "D1", "Block has no field 'nxet'"),
    "of a result": ("return oldest(heap).nxet", "D1", "Block has no field 'nxet'"),
    "of one of two results": ("block, n = two(heap)\n    return block.nxet + n", "D1", "Block has no field 'nxet'"),
    "of an argument": ("return told(heap.first)", "D1", "Block has no field 'tolled'"),
    "of a pointer that nothing shows": ("return 0", "D1", "no struct has field 'nowhere'"),
    "in a loop": ("block = heap.first\n    while block.nxet:\n        block = block.next", "D1", "no field 'nxet'"),
    "assigned in an inner place": (
        "heap.first.sises[0] = 1",
        "D1",
        "Block has no field 'sises': did you mean 'sizes'?",
    ),
    "added to": ("heap.count += 1", "D4", "Heap has no field 'count'"),
    "of memory": ("return heap.memory.counter", "D3", "memory has no counter"),
    "kept in memory": ("heap.memory.counter = 1", "D3", "memory has no counter"),
    "over one of memory's": ("heap.memory.PAGE = 1", "D4", "memory.PAGE = ...: keep state in a field"),
    "a pointer that goes on": ("heap.first.address = 16", "D4", "heap.first.address = ...: a pointer stays"),
    "of an array": ("return heap.bins.size", "D1", "an array has no size: it has address, at"),
    "of a cell": ("return heap.cell.value", "D1", "an atomic cell has no value: it has add, address, "),
    "of the machine": ("return heap.memory.process", "D3", "memory has no process"),
}
FIELDS = '''
"""An allocator."""

from heapwright.layout import Array, Atomic, Struct, Word


class Block(Struct):
    next: Block
    size: Word
    sizes: Array[Word, 4]


class Heap(Struct):
    first: Block
    bins: Array[Block, 8]
    cell: Atomic[Block]


def oldest(heap):
    return heap.first.next


def two(heap):
    return oldest(heap), 2


def told(block):
    return block.tolled if block else 0


def walk(heap, start, end):
    yield start, end - start, 1


def check(heap, start, end):
    assert {}.items() == heap.whatever


def dealloc(heap, address, size, align):
    heap.memory.fill(address, heap.bins.at(1) - heap.bins.address, heap.memory.PAGE)
    heap.cell.compare_exchange(heap.first, Block(heap.memory, Block.size.offset + Block.SIZE))
    heap.first.at(heap.cell.address).sizes[0] = heap.cell.exchange(heap.first).size


def alloc(heap, size, align):
    {}
    return 0
'''


@pytest.mark.parametrize("name", UNDECLARED)
def test_a_field_that_no_struct_declares_is_found(tmp_path: Path, name: str) -> None:
    body, rule, said = UNDECLARED[name]
    text = FIELDS.replace("{}\n", body + "\n")
    if name != "of an argument":
        text = text.replace("block.tolled", "block.size")
    if name == "of a pointer that nothing shows":
        text += "\n\ndef unused(thing):\n    return ((thing)).nowhere\n"
    violations = found(tmp_path, "", text)
    assert [(each.rule, said in each.sentence) for each in violations] == [(rule, True)], violations


def test_fields_that_are_declared_are_none(tmp_path: Path) -> None:
    assert found(tmp_path, "", FIELDS.replace("{}\n", "return told(heap.first)\n").replace("tolled", "size")) == []


def test_fields_of_siblings_are_known(tmp_path: Path) -> None:
    (tmp_path / "chunks.py").write_text(
        "from heapwright.layout import Struct, Word\n\n\nclass Chunk(Struct):\n    head: Word\n\n\n"
        "def first(heap):\n    return Chunk(heap.memory, 16)\n"
    )
    body = """
        import chunks
        from heapwright.layout import Struct

        class Heap(Struct):
            first: chunks.Chunk

        def f(heap):
            return heap.first.head + chunks.first(heap).haed
    """
    [violation] = found(tmp_path, body, "")
    assert violation.sentence == "Chunk has no field 'haed': did you mean 'head'?"


def test_a_function_of_two_kinds_of_pointers_is_judged_by_all_fields(tmp_path: Path) -> None:
    text = FIELDS.replace("{}\n", "return told(heap.first) + told(heap)\n")
    assert found(tmp_path, "", text.replace("tolled", "cell")) == []
    [violation] = found(tmp_path, "", text)
    assert violation.sentence.startswith("no struct has field 'tolled'")


def test_a_layer_does_not_know_the_fields_below(tmp_path: Path) -> None:
    head = "from heapwright.layers import inner\nfrom heapwright.layout import Inline, Struct\n"
    body = "class Heap(Struct):\n    heap: Inline[inner.Heap]\ndef f(heap):\n    return heap.heap.whatever\n"
    assert found(tmp_path, body, head) == []


@pytest.mark.parametrize("name", BAD)
def test_each_rule_is_found_broken(tmp_path: Path, name: str) -> None:
    rule, body = BAD[name]
    assert rule in rules(tmp_path, body)


def test_each_construct_that_is_refused_has_a_snippet() -> None:
    bodies = [body for name, (_, body) in BAD.items() if name != "no Python"]
    assert CONSTRUCTS.keys() <= {type(node) for body in bodies for node in ast.walk(ast.parse(body))}


def test_the_head_of_these_snippets_is_clean(tmp_path: Path) -> None:
    assert found(tmp_path, "") == []


GOOD = {
    "fault text": "def f(heap):\n    heap.memory.fault('double free', 16)",
    "docstring": "def f(heap):\n    'What it does.'\n    return 0",
    "atomic field": "def f(heap, cell):\n    cell.store(1)\n    return cell.load()",
    "power of two": "HALF = UNIT // 2\ndef f(heap, a):\n    return a // HALF % UNIT",
    "walk": "def walk(heap, start, end):\n    yield start, end - start, 1",
    "least number": "LEAST = -1 << 63\nMOST = (1 << 63) - 1",
    "null pointer": "def f(heap):\n    if heap.first:\n        return heap.first\n    return heap.first.at(NULL)",
    "local of a function's name": "def free(heap):\n    return 0\ndef f(heap):\n    free = 1\n    return free",
    "page": "def f(heap, a):\n    return a % heap.memory.PAGE",
}


@pytest.mark.parametrize("name", GOOD)
def test_what_is_allowed(tmp_path: Path, name: str) -> None:
    assert found(tmp_path, GOOD[name]) == []


def test_check_and_what_it_alone_uses_may_be_any_python(tmp_path: Path) -> None:
    body = """
        SIZES = {16: "small"}

        def members(heap):
            yield from [block for block in (heap.first,)]

        def check(heap, start, end):
            assert all(SIZES.get(each.address, f"{each}") for each in members(heap)), "I1  each is known"
    """
    assert found(tmp_path, body) == []


def test_a_helper_that_alloc_uses_too_is_not_exempt(tmp_path: Path) -> None:
    body = """
        def members(heap):
            return [heap.first]

        def alloc(heap, size, align):
            return members(heap)

        def check(heap, start, end):
            assert members(heap), "I1  there is one"
    """
    assert rules(tmp_path, body) == {"D2"}


def test_what_users_call_is_not_exempt_because_check_calls_it_too(tmp_path: Path) -> None:
    body = """
        def walk(heap, start, end):
            yield from [(start, end - start, 1)]

        def check(heap, start, end):
            assert list(walk(heap, start, end)), "I1  there is one"
    """
    assert rules(tmp_path, body) == {"D1", "D2"}


def test_siblings_are_followed(tmp_path: Path) -> None:
    (tmp_path / "whole.py").write_text(
        HEAD + "from part import alloc, members\n\n\ndef serve(heap):\n    return alloc(heap)\n\n\n"
        "def check(heap, start, end):\n    assert members(heap), 'I1  there is one'\n"
    )
    part = tmp_path / "part.py"
    part.write_text(
        "from whole import serve\n\n\ndef alloc(heap):\n    return serve(heap)\n\n\n"
        "def members(heap):\n    return [heap.first]\n"
    )
    assert [(each.line, each.rule) for each in lint(part)] == [(4, "D5")], "members is for check alone"
    assert "D5" in {each.rule for each in lint(tmp_path / "whole.py")}


def test_a_layer_may_alias_what_is_below_it(tmp_path: Path) -> None:
    head = "from heapwright.layers import inner\nfrom heapwright.traces.raw import ALLOC\n"
    body = "walk = inner.walk\ntrim = getattr(inner, 'trim', walk)\nif hasattr(inner, 'x'):\n    x = inner.x\n"
    assert found(tmp_path, body, head) == []
    assert {each.line for each in found(tmp_path, "walk = len\n", "from heapwright.layout import NULL\n")} == {2}


def test_a_violation_names_line_rule_and_remedy(tmp_path: Path) -> None:
    [violation] = found(tmp_path, "def f(heap):\n    return 1.5")
    assert str(violation).startswith(f"{tmp_path / 'mine.py'}:{HEAD.count(chr(10)) + 2}: D2: ")
    assert "whole numbers" in violation.sentence


def test_the_interface_has_its_arguments(tmp_path: Path) -> None:
    body = "def alloc(heap, size):\n    return 0\ndef check(heap, start, end):\n    pass"
    [violation] = found(tmp_path, body)
    assert violation.sentence == "`alloc` takes 3 arguments: alloc(heap, size, align)"


def test_what_is_to_be_compiled_must_pass_and_so_must_its_siblings(tmp_path: Path) -> None:
    (tmp_path / "part.py").write_text("def half(heap):\n    return 0.5\n")
    (tmp_path / "whole.py").write_text("from part import half\n\n\ndef f(heap):\n    return half(heap)\n")
    with pytest.raises(DialectError, match=r"part\.py:2: D2: 0\.5 is no number"):
        require(tmp_path / "whole.py")
    (tmp_path / "part.py").write_text("def half(heap):\n    return 7 // 2\n")
    require(tmp_path / "whole.py")


@pytest.mark.parametrize(
    ("body", "status"), [("COUNT = 7 % 2", 0), ("def f(h, a):\n    return a % 7", 0), ("x = 0", 1)]
)
def test_the_command(tmp_path: Path, body: str, status: int) -> None:
    path = tmp_path / "mine.py"
    path.write_text(body + "\n")
    command = [sys.executable, "-m", "heapwright.dialect", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == status, done.stdout + done.stderr
    assert ("D4" in done.stdout) == bool(status)


def test_the_command_takes_a_folder(tmp_path: Path) -> None:
    for name, text in (("a", "x = 0\n"), ("b", "y = 0\n")):
        (tmp_path / f"{name}.py").write_text(text)
    command = [sys.executable, "-m", "heapwright.dialect", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.count("D4")) == (1, 2)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "heapwright.dialect", str(tmp_path / "none.py")]
    assert subprocess.run(command, capture_output=True, check=False).returncode == 2

"""Programs of operations on Rust's collections: made at random, and run on heapwright's.

The text of a program, and that of its run, are those of tests/collections/rust/driver.rs: what it prints for a program,
`run` returns for the same one.
"""

from rust_types import TYPES

from heapwright import allocator
from heapwright.collections import (
    Arc,
    ArcWeak,
    BinaryHeap,
    Box,
    BTreeMap,
    HashMap,
    LinkedList,
    Rc,
    String,
    Vec,
    VecDeque,
    Weak,
    serve,
    u32,
)
from heapwright.collections.owned import Owned
from heapwright.machine import start

HEADS = (
    *(f"vec {element}" for element in ("u8", "u32", "u64", "unit", "b3", "b1025", "string")),
    *(f"deque {element}" for element in ("u8", "u32", "unit", "string")),
    *(f"{kind} {element}" for kind in ("list", "heap", "rc", "arc") for element in ("u8", "u64", "string")),
    *(
        f"map {pair}"
        for pair in ("u8 unit", "u8 u8", "u16 u8", "u64 u64", "b3 unit", "string u32", "u32 string", "box box")
    ),
    *(f"tree {pair}" for pair in ("u8 unit", "u32 u32", "u16 b3", "string string")),
    "string str",
)


class Requests(list):
    """Each request as Rust's traces have it: `16@4`, `16@4 -> 32`, `free 32@4`."""

    def enter(self, runtime):
        pass

    def done(self, runtime, operation):
        given = operation.arguments
        match operation.name:
            case "alloc":
                self.append("{}@{}".format(*given))
            case "alloc_zeroed":
                self.append("zeroed {}@{}".format(*given))
            case "realloc":
                self.append("{1}@{2} -> {3}".format(*given))
            case "dealloc":
                self.append("free {1}@{2}".format(*given))

    def taken(self):
        """The requests since the last time."""
        taken, self[:] = list(self), []
        return taken


# --- values


def make(kind, text):
    """An element of a type, made of the text of a number."""
    match kind:
        case "unit":
            return None
        case "b3" | "b1025":
            return bytes([int(text)]) * int(kind[1:])
        case "string":
            return String(text)
        case "box":
            return Box(int(text), u32)
        case _:
            return int(text)


def number(value):
    if isinstance(value, Box):
        return value.value
    if isinstance(value, bytes):
        return value[-1]
    return 0 if value is None else int(str(value))


def shown(values):
    """The numbers of some values; what is taken out of a container ends one after the other."""
    text = ""
    for value in values:
        text += f" {number(value)}"
        del value
    return text


def shown_pairs(pairs):
    text = ""
    for key, value in pairs:
        text += f" {number(key)}:{number(value)}"
        del value, key  # as Rust drops two variables
    return text


def optional(value, kind, was_there):
    """What pop gives: nothing if there was nothing, which None alone does not tell."""
    return shown([value]) if was_there else ""


# --- running


def run(text):
    """What the driver prints for some programs."""
    return "".join(run_one(program.strip().split("\n")) for program in text.split("\n\n") if program.strip())


def run_one(lines):
    heap = start(allocator.load("kr"))
    with serve(heap) as runtime:
        requests = Requests()
        runtime.watch(requests)
        machine = machine_for(lines[0].split(" "))
        out = [lines[0]]
        for line in lines[1:]:
            name, slot, *args = line.split(" ")
            requests.taken()
            result = machine.perform(name, int(slot == "b"), args)
            out += [f"> {line}", *requests, f"={result}{machine.shown(int(slot == 'b'))}"]
        machine.end()
        assert not heap.leaks()
    return "\n".join(out) + "\n\n"


def machine_for(head):
    match head:
        case ["map" | "tree", key, value]:
            return PairMachine(HashMap if head[0] == "map" else BTreeMap, key, value)
        case ["string", _]:
            return StringMachine()
        case ["list", element]:
            return ListMachine(element)
        case ["rc" | "arc", element]:
            return CountedMachine(*((Rc, Weak) if head[0] == "rc" else (Arc, ArcWeak)), element)
        case [name, element]:
            return SequenceMachine({"vec": Vec, "deque": VecDeque, "heap": BinaryHeap}[name], element)


class Machine:
    """Two slots; an operation is a method of the collection, unless `perform_own` knows better."""

    def __init__(self, new):
        self.new, self.slots = new, [new(), new()]

    def perform(self, name, slot, args):
        result = self.own(name, slot, args)
        if result is NotImplemented:
            getattr(self.slots[slot], name)(*map(int, args))
            return ""
        return result or ""

    def own(self, name, slot, args):
        match name:
            case "new":
                self.slots[slot] = self.new()
            case "clone":
                self.slots[1 - slot] = self.slots[slot].clone()
            case "append":
                self.slots[slot].append(self.slots[1 - slot])
            case _:
                return NotImplemented
        return None

    def end(self):
        for slot in self.slots:
            slot.drop()


class SequenceMachine(Machine):
    def __init__(self, kind, element):
        self.kind, self.element = kind, element
        super().__init__(lambda: kind(TYPES[element]))

    def made(self, args):
        return [make(self.element, text) for text in args]

    def own(self, name, slot, args):
        v, length = self.slots[slot], len(self.slots[slot])
        match name:
            case "with_capacity":
                self.slots[slot] = self.kind.with_capacity(int(args[0]), TYPES[self.element])
            case "of":
                self.slots[slot] = self.kind.of(self.made(args), TYPES[self.element])
            case "extend":
                v.extend(self.made(args))
            case "extend_unsized":
                v.extend(value for value in self.made(args))
            case "retain_even":
                v.retain(lambda value: number(value) % 2 == 0)
            case "push" | "push_back" | "push_front":
                getattr(v, name)(*self.made(args))
            case "pop" | "pop_back" | "pop_front":
                return optional(getattr(v, name)(), self.element, length)
            case "boxed":
                self.slots[slot] = self.new()
                self.slots[slot] = v.into_boxed_slice().into_vec()
            case _:
                return self.indexed(name, v, slot, args)
        return None

    def indexed(self, name, v, slot, args):
        length = len(v)
        match name:
            case "insert":
                v.insert(int(args[0]) % (length + 1), make(self.element, args[1]))
            case "resize":
                value = make(self.element, args[1])
                v.resize(int(args[0]), value)
            case "split_off":
                self.slots[1 - slot] = v.split_off(int(args[0]) % (length + 1))
            case "drain":
                first, end = sorted(int(each) % (length + 1) for each in args)
                return shown(v.drain(first, end))
            case "remove" | "swap_remove":
                index = int(args[0]) % (length + (self.kind is VecDeque)) if length else 0
                return shown([getattr(v, name)(index)]) if index < length else ""
            case _:
                return super().own(name, slot, args)
        return None

    def shown(self, slot):
        v = self.slots[slot]
        capacity = v.capacity if v.element.size else -1
        return f" | {len(v)} {capacity}:{shown(v)}"


class ListMachine(SequenceMachine):
    def __init__(self, element):
        super().__init__(LinkedList, element)

    def shown(self, slot):
        return f" | {len(self.slots[slot])}:{shown(self.slots[slot])}"


class StringMachine(Machine):
    def __init__(self):
        super().__init__(String)

    def boundary(self, slot, text):
        data = str(self.slots[slot]).encode()
        return len(data[: int(text) % (len(data) + 1)].decode(errors="ignore").encode())

    def own(self, name, slot, args):
        s = self.slots[slot]
        match name:
            case "from":
                self.slots[slot] = String(args[0])
            case "with_capacity":
                self.slots[slot] = String.with_capacity(int(args[0]))
            case "push":
                s.push(args[0][0])
            case "push_str" | "extend":
                getattr(s, name)(args[0])
            case "insert_str":
                s.insert_str(self.boundary(slot, args[0]), args[1])
            case "truncate":
                s.truncate(self.boundary(slot, args[0]))
            case "remove":
                index = self.boundary(slot, args[0])
                if index < len(s):
                    s.remove(index)
            case "split_off":
                self.slots[1 - slot] = s.split_off(self.boundary(slot, args[0]))
            case "boxed":
                self.slots[slot] = self.new()
                self.slots[slot] = s.into_boxed_str().into_string()
            case _:
                return super().own(name, slot, args)
        return None

    def shown(self, slot):
        s = self.slots[slot]
        return f" | {len(s)} {s.capacity}: {s}"


class PairMachine(Machine):
    def __init__(self, kind, key, value):
        self.kind, self.types = kind, (key, value)
        super().__init__(lambda: kind(TYPES[key], TYPES[value]))

    def made(self, args):
        return [tuple(map(make, self.types, args[i : i + 2])) for i in range(0, len(args), 2)]

    def plain(self, text):
        """A key that makes no request."""
        return text if self.types[0] == "string" else int(text) if self.types[0] == "box" else make(self.types[0], text)

    def own(self, name, slot, args):
        table = self.slots[slot]
        match name:
            case "with_capacity":
                self.slots[slot] = self.kind.with_capacity(int(args[0]), *map(TYPES.get, self.types))
            case "insert":
                table.insert(*self.made(args)[0])
            case "entry":
                key, value = self.made(args)[0]
                table.entry(key).or_insert(value)
            case "extend":
                table.extend(self.made(args))
            case "extend_unsized":
                table.extend(pair for pair in self.made(args))
            case "remove":
                table.remove(self.plain(args[0]))
            case "split_off":
                self.slots[1 - slot] = table.split_off(self.plain(args[0]))
            case "retain_even":
                table.retain(lambda key, _: number(key) % 2 == 0)
            case "drain":
                return shown_pairs(table.drain())
            case "pop_first" | "pop_last":
                pair = getattr(table, name)()
                return shown_pairs([pair] if pair else [])
            case _:
                return super().own(name, slot, args)
        return None

    def shown(self, slot):
        table = self.slots[slot]
        capacity = f" {table.capacity}" if self.kind is HashMap else ""
        return f" | {len(table)}{capacity}:{shown_pairs(table.items())}"


class CountedMachine:
    def __init__(self, kind, weak_kind, element):
        self.kind, self.weak_kind, self.element = kind, weak_kind, element
        self.strong, self.weak = [None, None], [None, None]

    def perform(self, name, here, args):
        rc, weak, there = self.strong[here], self.weak[here], 1 - here
        match name:
            case "new":
                self.strong[here] = self.kind(make(self.element, args[0]), TYPES[self.element])
            case "new_cyclic":
                kept = []
                made = self.kind.new_cyclic(
                    TYPES[self.element], lambda weak: kept.append(weak.clone()) or make(self.element, args[0])
                )
                rc = weak = None  # what was there ends now, the Weak first
                self.weak[here] = kept.pop()
                self.strong[here] = made
            case "clone":
                self.strong[there] = rc and rc.clone()
            case "drop":
                self.strong[here] = None
            case "downgrade":
                self.weak[here] = rc and rc.downgrade()
            case "weak_new":
                self.weak[here] = self.weak_kind(TYPES[self.element])
            case "weak_clone":
                self.weak[there] = weak and weak.clone()
            case "weak_drop":
                self.weak[here] = None
            case "upgrade":
                self.strong[here] = weak and weak.upgrade()
            case _:
                return self.change(name, here, args) if rc is not None else ""
        return ""

    def change(self, name, here, args):
        rc = self.strong[here]
        if name == "try_unwrap":
            value = rc.try_unwrap()
            if rc.is_dropped:
                self.strong[here] = None
                return shown([value])
            return ""
        value = make(self.element, args[0]) if name == "make_mut" else None
        place = getattr(rc, name)()
        if place is None:
            return " none"
        place.value = value if name == "make_mut" else make(self.element, args[0])
        return ""

    def shown(self, here):
        rc = self.strong[here]
        return f" | {rc.strong_count} {rc.weak_count} {number(rc.value)}" if rc is not None else " | none"

    def end(self):
        for held in (*self.strong, *self.weak):
            if isinstance(held, Owned):
                held.drop()

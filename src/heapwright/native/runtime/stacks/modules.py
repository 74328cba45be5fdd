"""The modules of a process: which one a code address belongs to, and where its unwind tables are.

`_dl_find_object` is the dynamic linker's function for unwinders: it takes no lock, allocates nothing, and may be called
at any time (glibc 2.35 and later). What `dlclose` unmaps, another module may replace: after each call, what was known
of modules is looked up anew. A module that is found again keeps its number.

Source: The GNU C Library Reference Manual, Dynamic Linker Introspection; System V ABI, Object Files.
"""

from __future__ import annotations

from heapwright.bits import wrapping_mul
from heapwright.layout import NULL, Array, Byte, Struct, Word
from heapwright.native import c
from heapwright.native.runtime.kernel import errno, set_errno
from heapwright.native.runtime.linux import HERE, READ_LINK_AT
from heapwright.native.runtime.recorder import record, recorder
from heapwright.native.runtime.stacks.encoded import byte_at, unsigned_16_at, unsigned_at, word_at
from heapwright.native.runtime.stacks.state import MAX_MODULES, Module, length_of, record_text, sites_of_process
from heapwright.traces.raw_stacks import BUILD_ID, MODULE, PATH

MAX_NAME = 4096
ELF, NOTES, BUILD_ID_NOTE = 0x464C457F, 4, 3  # the magic number; PT_NOTE; NT_GNU_BUILD_ID
MAX_BUILD_ID = 64
FACTOR = 0x100000001B3
PROGRAM_HEADERS = 3  # AT_PHDR


class Found(Struct):
    """C's struct dl_find_object."""

    flags: Word
    start: Word
    end: Word
    link: Word
    index: Word
    reserved: Array[Word, 7]


class Link(Struct):
    """The beginning of C's struct link_map."""

    bias: Word
    name: Word


class Path(Struct):
    letters: Array[Byte, 1024]


class SegmentHeader(Struct):
    kind_and_flags: Word
    offset: Word
    place: Word  # before the bias is added
    physical: Word
    file_size: Word
    size: Word
    align: Word


def module_at(sites, address):
    """The number of the module of a code address; 0 if there is none."""
    generation = sites.generation.load()
    for number in range(1, min(sites.modules.load(), MAX_MODULES - 1) + 1):
        module = module_of(sites, number)
        if module.start <= address < module.end and module.generation == generation and module.identity.load() != 0:
            return number
    found = c.unset_on_stack(Found)
    find = c.address_if_any("_dl_find_object")
    if find == NULL or c.call_with_two(find, address, found.address) != 0:
        return 0
    return number_of(sites, found, generation)


def module_of(sites, number):
    """The module of that number."""
    return Module(sites.memory, sites.first_module + number * Module.SIZE)


def number_of(sites, found, generation):
    """The number of a module that the dynamic linker found: its old one, or a new one."""
    link = Link(sites.memory, found.link)
    identity = identity_of(found, link)
    for number in range(1, min(sites.modules.load(), MAX_MODULES - 1) + 1):
        if module_of(sites, number).identity.load() == identity:
            module_of(sites, number).generation = generation
            return number
    number = sites.modules.add(1) + 1
    if number >= MAX_MODULES:
        return 0
    module = module_of(sites, number)
    module.start = found.start
    module.end = found.end
    module.bias = link.bias
    module.index = found.index
    module.generation = generation
    describe(sites, number, module, link)
    module.identity.store(identity)
    return number


def identity_of(found, link):
    """A number that two modules share only if they have one place and one name. Never 0."""
    memory = link.memory
    number = mix(mix(mix(1, found.start), found.end), link.bias)
    place = link.name
    while place != NULL and byte_at(memory, place) != 0:
        number = mix(number, byte_at(memory, place))
        place += 1
    return number | 1


def mix(number, more):
    """One step of a hash."""
    return wrapping_mul(number ^ more, FACTOR)


# --- its records


def describe(sites, number, module, link):
    """Record where a module is, its path, and its build ID."""
    record(MODULE, 0, module.start, module.bias, module.end - module.start, number)
    length = length_of(link.name, MAX_NAME) if link.name != NULL else 0
    if length != 0:
        record_text(PATH, number, link.name, length)
    else:
        record_program(number)
    record_build_id(sites.memory, number, module)


def record_program(number):
    """Record the path of the program itself, which has no name for the dynamic linker."""
    path = c.unset_on_stack(Path)
    saved = errno()
    length = c.syscall(READ_LINK_AT, HERE, c.text("/proc/self/exe"), path.address, Path.SIZE, 0)
    set_errno(saved)
    if length > 0:
        record_text(PATH, number, path.address, length)


def record_build_id(memory, number, module):
    """Record the build ID that the linker put into a module, if it did."""
    if unsigned_at(memory, module.start) != ELF:
        return
    first = module.start + word_at(memory, module.start + 32)
    for i in range(unsigned_16_at(memory, module.start + 56)):
        header = SegmentHeader(memory, first + i * SegmentHeader.SIZE)
        if header.kind_and_flags & 0xFFFFFFFF == NOTES:
            start = module.bias + header.place
            if module.start <= start and start + header.size <= module.end:
                record_notes(memory, number, start, start + header.size)


def record_notes(memory, number, place, end):
    """Record the build ID if it is among some notes."""
    while place + 12 <= end:
        name = unsigned_at(memory, place) + 3 & -4
        size = unsigned_at(memory, place + 4)
        kind = unsigned_at(memory, place + 8)
        if kind == BUILD_ID_NOTE and name == 4 and size <= MAX_BUILD_ID:
            record_text(BUILD_ID, number, place + 16, size)
        place += 12 + name + (size + 3 & -4)


# --- dlclose


def note_program(sites):
    """Look up the program's own module early: later, a filter of system calls may forbid to ask for its path."""
    return module_at(sites, c.getauxval(PROGRAM_HEADERS))


def dlclose(heap, handle):
    """Call the C library's dlclose, and forget the rules of all code addresses."""
    result = c.call(c.dlsym(-1, c.text("dlclose")), handle)
    if recorder().sites.load() > 0:
        sites_of_process().generation.add(1)
    return result

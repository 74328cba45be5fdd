"""Options of a heap from the environment, as glibc reads them: GLIBC_TUNABLES, and the variables that mallopt(3) names.

Written in the dialect. A heap asks once for each option, when it opens: inside its first malloc, which may run before
any constructor. So nothing here allocates, takes a lock or needs anything initialised. A program that is more
privileged than its user (setuid) gets no settings, as `secure_getenv` decides. The same holds if the tunable
glibc.rtld.enable_secure is set.

Values that are not numbers or out of range are ignored, and so is all of GLIBC_TUNABLES if it is ill-formed. Nothing is
printed then, because the loader has already done so.
Source: glibc elf/dl-tunables.c and elf/dl-misc.c (_dl_strtoul), elf/dl-tunables.list, as of 2.43.
"""

from __future__ import annotations

from heapwright.bits import MAX_WORD
from heapwright.layout import NULL, Byte, Struct
from heapwright.native import c
from heapwright.options import (
    M_ARENA_MAX,
    M_ARENA_TEST,
    M_MMAP_MAX,
    M_MMAP_THRESHOLD,
    M_MXFAST,
    M_PERTURB,
    M_TOP_PAD,
    M_TRIM_THRESHOLD,
    SAMPLE_BYTES,
    SAMPLE_VARIABLE,
    TCACHE_COUNT,
    TCACHE_MAX,
    TCACHE_UNSORTED_LIMIT,
    UNSET,
)

END, TAB, BLANK, PLUS, MINUS, COLON, EQUALS = 0, 9, 32, 43, 45, 58, 61
ZERO, NINE, LETTER_A, LETTER_X = 48, 57, 97, 120
LOWER_CASE = 32  # the bit that distinguishes lower-case from upper-case letters
MAX_INT = (1 << 31) - 1


class Letter(Struct):
    code: Byte


def letter(place):
    """The byte at an address."""
    return Letter(c.process_memory(), place).code


# --- the environment


def setting(option):
    """The value of an option, or UNSET."""
    tunables = c.secure_getenv(c.text("GLIBC_TUNABLES"))
    if tunable(tunables, c.text("glibc.rtld.enable_secure")) == 1:
        return UNSET
    value = within(option, tunable(tunables, tunable_of(option)))
    if value == UNSET and variable_of(option) != NULL:
        value = within(option, whole_number(c.secure_getenv(variable_of(option))))
    return value


def tunable(tunables, name):
    """The value of a tunable in GLIBC_TUNABLES, or UNSET."""
    return UNSET if NULL in (tunables, name) else whole_number(find(tunables, name))


def variable_of(option):  # noqa: PLR0911  a table
    """The name of an option's environment variable, or NULL."""
    if option == M_TRIM_THRESHOLD:
        return c.text("MALLOC_TRIM_THRESHOLD_")
    if option == M_TOP_PAD:
        return c.text("MALLOC_TOP_PAD_")
    if option == M_MMAP_THRESHOLD:
        return c.text("MALLOC_MMAP_THRESHOLD_")
    if option == M_MMAP_MAX:
        return c.text("MALLOC_MMAP_MAX_")
    if option == M_PERTURB:
        return c.text("MALLOC_PERTURB_")
    if option == M_ARENA_TEST:
        return c.text("MALLOC_ARENA_TEST")
    if option == M_ARENA_MAX:
        return c.text("MALLOC_ARENA_MAX")
    if option == SAMPLE_BYTES:
        return c.text(SAMPLE_VARIABLE)
    return NULL


def tunable_of(option):  # noqa: PLR0911  a table
    """The name of an option's tunable, or NULL."""
    if option == M_TRIM_THRESHOLD:
        return c.text("glibc.malloc.trim_threshold")
    if option == M_TOP_PAD:
        return c.text("glibc.malloc.top_pad")
    if option == M_MMAP_THRESHOLD:
        return c.text("glibc.malloc.mmap_threshold")
    if option == M_MMAP_MAX:
        return c.text("glibc.malloc.mmap_max")
    if option == M_PERTURB:
        return c.text("glibc.malloc.perturb")
    if option == M_ARENA_TEST:
        return c.text("glibc.malloc.arena_test")
    if option == M_ARENA_MAX:
        return c.text("glibc.malloc.arena_max")
    if option == M_MXFAST:
        return c.text("glibc.malloc.mxfast")
    return cache_tunable_of(option)


def cache_tunable_of(option):
    """The name of the tunable for an option of the threads' caches, or NULL."""
    if option == TCACHE_MAX:
        return c.text("glibc.malloc.tcache_max")
    if option == TCACHE_COUNT:
        return c.text("glibc.malloc.tcache_count")
    if option == TCACHE_UNSORTED_LIMIT:
        return c.text("glibc.malloc.tcache_unsorted_limit")
    return NULL


def within(option, value):
    """A value, or UNSET if it is out of the option's range."""
    minimum = 1 if option in (M_ARENA_TEST, M_ARENA_MAX) else 0
    maximum = 0xFF if option == M_PERTURB else MAX_INT if option == M_MMAP_MAX else MAX_WORD
    return value if minimum <= value <= maximum else UNSET


# --- GLIBC_TUNABLES: name=value:name=value


def find(tunables, name):
    """The start of a tunable's last value; NULL if it has none, or if the text is ill-formed."""
    found, place = NULL, tunables
    while True:
        start = place
        place = skip_word(place)
        if letter(place) == END:
            return NULL
        if letter(place) == EQUALS:
            value = place + 1
            place = skip_word(value)
            if letter(place) == EQUALS:
                return NULL
            if is_named(start, name):
                found = value
            if letter(place) == END:
                return found
        place += 1


def skip_word(place):
    """The end of the name or value that starts at a place."""
    while letter(place) not in (END, COLON, EQUALS):
        place += 1
    return place


def is_named(place, name):
    """Whether the text at a place, up to the equals sign, is this name."""
    while letter(name) != END and letter(place) == letter(name):
        place += 1
        name += 1
    return letter(name) == END and letter(place) == EQUALS


# --- numbers: decimal, 0 for octal, 0x for hexadecimal


def whole_number(place):
    """The number that the whole value spells, or UNSET. A number that is too large becomes the largest."""
    if place == NULL:
        return UNSET
    while letter(place) in (BLANK, TAB):
        place += 1
    is_negative = letter(place) == MINUS
    if letter(place) in (MINUS, PLUS):
        place += 1
    if digit(place) >= 10:
        return UNSET
    base = base_at(place)
    number, place = digits(place + 2 if base == 16 else place, base)
    if letter(place) not in (END, COLON):
        return UNSET
    return MAX_WORD if is_negative and number != 0 else number


def base_at(place):
    """The base of a number, from its first letters."""
    if letter(place) != ZERO:
        return 10
    return 16 if letter(place + 1) | LOWER_CASE == LETTER_X else 8


def digits(place, base):
    """The number that the digits at a place spell, and their end."""
    number = 0
    while digit(place) < base:
        fits = number <= (MAX_WORD - digit(place)) // base
        number = number * base + digit(place) if fits else MAX_WORD
        place += 1
    return number, place


def digit(place):
    """The value of the digit at a place; 16 for any other letter."""
    code = letter(place)
    if ZERO <= code <= NINE:
        return code - ZERO
    code |= LOWER_CASE
    return code - LETTER_A + 10 if LETTER_A <= code < LETTER_A + 6 else 16

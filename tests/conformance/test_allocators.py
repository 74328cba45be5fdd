"""Every allocator conforms: allocators × checks."""

from heapwright.allocators import ALLOCATORS
from heapwright.conformance import parametrize_with_checks

MISUSE = ("double_free", "foreign_free", "interior_free")
WORDS = "DETECTS says what its faults say; the words are double free, foreign, interior"

KNOWN = {
    "linked_list": {"double_free": "it reports double frees and does not say so in DETECTS"},
    "pages": {name: WORDS for name in MISUSE},
    "pages_split": {
        **{name: WORDS for name in MISUSE},
        "numbered_invariants": "no assert says I5, which is left to pages",
    },
    "slab": {
        **{name: WORDS for name in MISUSE},
        "U7_words_unchanged": "a request that fails may move a count of a slab, and it does not say so with TIDIES",
    },
    "buddy": {name: WORDS for name in MISUSE},
    "segregated_storage": {name: WORDS for name in MISUSE},
    "dlmalloc": {name: WORDS for name in MISUSE},
    "ptmalloc": {
        "double_free": "it reports double frees and does not say so in DETECTS",
        "U7_words_unchanged": "its searches sort what they find, and it does not say so with TIDIES",
    },
    "hoard": {name: WORDS for name in MISUSE},
}


@parametrize_with_checks(ALLOCATORS, KNOWN)
def test_conforms(subject, check):
    check(subject)

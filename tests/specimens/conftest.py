"""Scenarios, which are in no test's file, say what they compared when they fail."""

import pytest

SPECIMENS = ("kr_xv6", "outline_dlmalloc", "page_allocator", "user_allocator")

pytest.register_assert_rewrite("tests.specimens.scenarios", *(f"tests.specimens.{name}_defects" for name in SPECIMENS))

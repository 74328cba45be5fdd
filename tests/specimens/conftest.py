"""Scenarios, which are in no test's file, say what they compared when they fail."""

import pytest

pytest.register_assert_rewrite("tests.specimens")

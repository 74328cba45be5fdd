"""The heap of a test: of the allocator that its module is about."""

import pytest

from heapwright.machine import start


@pytest.fixture
def heap(request):
    return start(request.module.DESIGN)

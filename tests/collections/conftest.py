"""A heap that serves the test, with the requests that were made of it."""

import pytest

from heapwright import allocator
from heapwright.collections import serve
from heapwright.machine import start


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


@pytest.fixture(params=["kr", "linked_list"])
def heap(request):
    """Checked at the end, when all that the test held is gone."""
    heap = start(allocator.load(request.param))
    with serve(heap):
        yield heap
    heap.check()


@pytest.fixture
def runtime(heap):
    from heapwright.collections import running

    return running()


@pytest.fixture
def requests(runtime):
    requests = Requests()
    runtime.watch(requests)
    return requests

"""Valid events of any kind, drawn by Hypothesis: `st.from_type(Events)`; a text opened as a trace."""

import pytest
from event_stories import stories
from hypothesis import strategies as st

from heapwright.traces.events import Events, check
from heapwright.traces.importers import open_trace

st.register_type_strategy(Events, stories())


@pytest.fixture
def open_text(tmp_path):
    """Open a trace with this content."""

    def run(content, name="trace.txt"):
        (tmp_path / name).write_bytes(content)
        trace = open_trace(tmp_path / name)
        for process in trace.processes:
            check(process.events)
        return trace

    return run

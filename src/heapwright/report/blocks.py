"""The blocks that are live, and what each event changes: the size, call stack and age of the block that it concerns.

Events name blocks. What an event takes back, the bytes of a freed block or the old size of a grown one, stands in an
earlier event, perhaps in an earlier chunk. So between chunks a table holds the live blocks.

In a sample, each block stands for several: `weight` blocks, with `bytes` bytes together (heapwright.traces.sampling).
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any

from heapwright.traces.arrays import F64, I64, U32, Mask, np
from heapwright.traces.events import DEALLOC, INHERITED, NONE, Events
from heapwright.traces.sampling import rounded, variances, weights

if TYPE_CHECKING:
    from numpy.typing import NDArray

ROW = [  # of the table of live blocks
    ("block", "<i8"),
    ("size", "<i8"),
    ("born", "<i8"),  # when it was allocated
    ("asked", "<i8"),  # requests of its thread up to and including its own
    ("site", "<u4"),  # who asked for its present size
    ("owner", "<u4"),  # the thread that allocated it
    ("growths", "<u4"),  # reallocs that made it larger
]


@dataclass(frozen=True)
class Changes:
    """What each event of a chunk does, one array element for each. Where an event has no such value, it is 0."""

    x: I64  # when: microseconds, or the number of the event
    thread: U32
    requests: Mask  # it got memory: neither failed nor inherited from a parent process
    held: Mask  # its block was live before it
    holds: Mask  # its block is live after it
    size: I64  # bytes that its block has from now on
    site: U32  # who asked for them
    old_size: I64  # bytes that its block had until now
    old_site: U32
    born: I64  # when its block was allocated
    owner: U32  # the thread that allocated its block
    others: I64  # requests of the thread since it allocated the block, without this one
    growths: U32  # of its block so far
    weight: F64 | I64  # blocks that its block stands for from now on; 0 if it is dead
    bytes: I64  # bytes of these together
    old_weight: F64 | I64
    old_bytes: I64
    live_bytes: I64  # after the event
    live_blocks: I64
    rate: int = 0  # of the sample; 0: all events are here

    def __len__(self) -> int:
        return len(self.x)

    @property
    def starts(self) -> Mask:
        return self.holds & ~self.held

    @property
    def dies(self) -> Mask:
        return self.held & ~self.holds

    @property
    def grows(self) -> Mask:
        """Reallocs to a larger size."""
        return self.held & self.holds & (self.size > self.old_size)

    @property
    def variance(self) -> F64:
        """What each event adds to the variance of a total of bytes."""
        return variances(self.size, self.rate)

    @property
    def old_variance(self) -> F64:
        return variances(self.old_size, self.rate)

    def __getitem__(self, which: slice | Mask) -> Changes:
        columns = {each.name: getattr(self, each.name)[which] for each in fields(self) if each.name != "rate"}
        return replace(self, **columns)


class LiveBlocks:
    """The live blocks of a process, in the order of their numbers. `advance` takes its chunks one after the other."""

    def __init__(self, rate: int = 0) -> None:
        self.rate = rate
        self.rows: NDArray[Any] = np.zeros(0, ROW)
        self._started = 0  # blocks so far
        self._asked: I64 = np.zeros(1, np.int64)  # requests so far, by thread

    def advance(self, events: Events, x: I64, site: U32) -> Changes:
        """What the next events do. `x` is when they happen, `site` who asked."""
        asked = self._count_requests(events)
        touching = np.flatnonzero((events.block != NONE) & ~events.failed)
        old = self._named_again(events.block[touching])
        rows = np.concatenate([self.rows[old], new_rows(events, x, site, asked)[touching]])
        chains = Chains.of(rows, carried=len(old), dies=events.op[touching] == DEALLOC)
        before_bytes, before_blocks = int(self.bytes_for().sum()), self.weights_for().sum()
        self._replace(old, chains.survivors())
        return self._changes(events, x, asked, touching, chains, before_bytes, before_blocks)

    def _changes(
        self, events: Events, x: I64, asked: I64, touching: I64, chains: Chains, live_bytes: int, live_blocks: float
    ) -> Changes:
        count = len(events)

        def spread(column: Any) -> Any:
            """A column of the chains, as a column of the events."""
            own = chains.order >= chains.carried
            whole = np.zeros(count, column.dtype)
            whole[touching[chains.order[own] - chains.carried]] = column[own]
            return whole

        size, old_size = spread(chains.rows["size"]), spread(chains.old_size)
        held, holds = spread(~chains.first), spread(~chains.dies)
        gets = events.asks & ~events.failed
        weight, old_weight = (weigh(*each, self.rate) for each in ((size, holds), (old_size, held)))
        each_bytes, old_bytes = (whole(*each) for each in ((size, weight), (old_size, old_weight)))
        same_thread = spread(chains.rows["owner"]) == events.thread
        return Changes(
            x=x,
            thread=events.thread,
            requests=gets & (events.flags & INHERITED == 0),
            held=held,
            holds=holds,
            size=size,
            site=spread(chains.rows["site"]),
            old_size=old_size,
            old_site=spread(chains.old_site),
            born=spread(chains.rows["born"]),
            owner=spread(chains.rows["owner"]),
            others=np.where(same_thread, asked - gets - spread(chains.rows["asked"]), np.iinfo(np.int64).max),
            growths=spread(chains.rows["growths"]),
            weight=weight,
            bytes=each_bytes,
            old_weight=old_weight,
            old_bytes=old_bytes,
            live_bytes=live_bytes + np.cumsum(each_bytes - old_bytes),
            live_blocks=rounded(live_blocks + np.cumsum(weight - old_weight)),
            rate=self.rate,
        )

    def weights_for(self) -> F64 | I64:
        """How many blocks each row stands for."""
        return weigh(self.rows["size"], np.ones(len(self.rows), bool), self.rate)

    def bytes_for(self) -> I64:
        """The bytes that each row stands for."""
        return whole(self.rows["size"], self.weights_for())

    def _count_requests(self, events: Events) -> I64:
        """For each event, the requests of its thread so far, with its own."""
        gets = (events.asks & ~events.failed).astype(np.int64)
        threads = int(events.thread.max(initial=0)) + 1
        self._asked = np.pad(self._asked, (0, max(0, threads - len(self._asked))))
        order = np.argsort(events.thread, kind="stable")
        thread, running = events.thread[order], np.cumsum(gets[order])
        first = np.searchsorted(thread, thread)
        counts = np.empty(len(events), np.int64)
        counts[order] = self._asked[thread] + running - (running - gets[order])[first]
        np.add.at(self._asked, events.thread, gets)
        return counts

    def _named_again(self, block: I64) -> I64:
        """The places in the table of blocks that events name."""
        names = np.unique(block[block < self._started])
        places = np.searchsorted(self.rows["block"], names)
        known = places < len(self.rows)
        known[known] = self.rows["block"][places[known]] == names[known]
        return places[known]

    def _replace(self, old: I64, survivors: NDArray[Any]) -> None:
        """Put the survivors of a chunk in place of the rows that it named."""
        kept = np.ones(len(self.rows), bool)
        kept[old] = False
        again = survivors["block"] < self._started
        places = np.searchsorted(self.rows["block"], survivors["block"][again])
        self.rows[places], kept[places] = survivors[again], True
        self.rows = np.concatenate([self.rows[kept], survivors[~again]])
        self._started = max(self._started, int(survivors["block"].max(initial=-1)) + 1)


def weigh(size: I64, lives: Mask, rate: int) -> F64 | I64:
    """How many blocks each block stands for; 0 for those that do not live."""
    return np.where(lives, weights(size, rate), 0.0) if rate else lives.astype(np.int64)


def whole(size: I64, weight: F64 | I64) -> I64:
    """The bytes that blocks stand for."""
    return size if weight.dtype == np.int64 else rounded(size * weight)


def new_rows(events: Events, x: I64, site: U32, asked: I64) -> NDArray[Any]:
    """For each event a row with what it says by itself."""
    rows = np.zeros(len(events), ROW)
    rows["block"], rows["born"], rows["asked"] = events.block, x, asked
    rows["size"] = events.size
    rows["site"], rows["owner"] = site, events.thread
    return rows


@dataclass(frozen=True)
class Chains:
    """Rows in the order of their blocks, and for each block in the order of events. A row of the table comes first.

    What a block keeps, it has in all rows of its chain: when it was born, and where.
    """

    order: I64  # where each row came from; the first `carried` are those of the table
    carried: int
    rows: NDArray[Any]
    first: Mask  # of its chain
    dies: Mask
    old_size: I64
    old_site: U32

    @classmethod
    def of(cls, rows: NDArray[Any], carried: int, dies: Mask) -> Chains:
        order = np.argsort(rows["block"], kind="stable")
        rows, dies = rows[order], np.concatenate([np.zeros(carried, bool), dies])[order]
        first = np.diff(rows["block"], prepend=NONE - 1) != 0
        old_size = np.where(first, 0, shifted(rows["size"]))
        grows = ~first & ~dies & (rows["size"] > old_size)
        start = np.flatnonzero(first)[np.cumsum(first) - 1]  # of each row's chain
        running = np.cumsum(grows)
        growths = rows["growths"][start] + (running - (running - grows)[start]).astype(np.uint32)
        old_site = np.where(first, 0, shifted(rows["site"])).astype(np.uint32)
        for name in ("born", "asked", "owner"):
            rows[name] = rows[name][start]
        rows["growths"] = growths
        return cls(order, carried, rows, first, dies, old_size, old_site)

    def survivors(self) -> NDArray[Any]:
        """The last row of each block that stays live."""
        last = np.append(self.first[1:], True)[: len(self.rows)]
        return self.rows[last & ~self.dies]


def shifted(column: Any) -> Any:
    """Each element's predecessor; 0 for the first."""
    return np.concatenate([column[:0], np.zeros(min(1, len(column)), column.dtype), column[:-1]])

"""The workers of a Dask cluster as the place where cells run. The extra `heapwright[dask]` installs the client.

A file of the caller's is used where it is if a worker finds the same bytes there. Otherwise it is sent, once for each
machine without it, and removed at the end. Files are compared by their SHA-256.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from heapwright.errors import UserError
from heapwright.files import written_whole
from heapwright.lab.crew import dismiss
from heapwright.lab.sample import RunError
from heapwright.native.library import cache
from heapwright.traces.columns import LEVEL, compressor, decompress

if TYPE_CHECKING:
    from heapwright.lab.cells import Place

PREFIX = "dask://"
PATIENCE = 10  # seconds to wait for a scheduler
MAX_SENT = 1 << 30  # bytes of a file


class ClusterError(UserError):
    """A cluster that cannot be reached or used. The text says what to do, in one line."""


# --- on the workers


@dataclass(frozen=True)
class Sent:
    """Finds the caller's files on a worker: the path itself if the same bytes are there, or else the copy."""

    digests: Mapping[Path, str]

    def __call__(self, path: Path) -> Path:
        found = place_of(path, self.digests[path])
        if found is None:
            raise RunError(f"finds no file {path} on its worker")
        return found


def place_of(path: Path, digest: str) -> Path | None:
    """Where this machine has a file with a digest; None if it has none."""
    return next((each for each in (path, copy_of(path, digest)) if digest_of(each) == digest), None)


def copy_of(path: Path, digest: str) -> Path:
    """Where a file that was sent is kept."""
    return cache() / "sent" / f"{digest[:32]}-{path.name}"


def lacking(digests: Mapping[Path, str]) -> list[Path]:
    """The files that this machine does not have."""
    return [path for path, digest in digests.items() if place_of(path, digest) is None]


def keep(path: Path, digest: str, size: int, packed: bytes) -> None:
    """Keep a file that was sent."""
    copy = copy_of(path, digest)
    copy.parent.mkdir(parents=True, exist_ok=True)
    with written_whole(copy) as file:
        file.write(decompress(packed, size))


def drop(digests: Mapping[Path, str]) -> None:
    """Remove what was sent."""
    for path, digest in digests.items():
        copy_of(path, digest).unlink(missing_ok=True)


def version() -> str:
    return importlib.metadata.version("heapwright")


# --- digests


def digest_of(path: Path) -> str:
    """The SHA-256 of a file; "" if it cannot be read. It is kept for as long as the file is not changed."""
    try:
        facts = path.stat()
        return digest_at(path, facts.st_size, facts.st_mtime_ns)
    except OSError:
        return ""


@lru_cache(maxsize=1000)
def digest_at(path: Path, _size: int, _time: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


# --- the caller's side


class Cluster:
    """The workers of a cluster."""

    def __init__(self, client: Any, lost: tuple[type[Exception], ...]):
        self.client, self.lost = client, lost
        self.executor = client.get_executor(pure=False, retries=0)
        self._digests: dict[Path, str] = {}

    def prepare(self, files: Sequence[Path]) -> Callable[[Path], Path]:
        """Send each worker's machine what it lacks. Raises ClusterError if that cannot be."""
        self._require_same_version()
        self._digests = {path: digest_of(path) for path in files}
        for worker in self._on_each(version):
            for path in self.client.run(lacking, self._digests, workers=[worker])[worker]:
                self._send(path, worker)
        return Sent(self._digests)

    def dismiss(self, run: str) -> None:
        self._on_each(dismiss, run)

    def clear(self) -> None:
        """Remove what was sent."""
        self._on_each(drop, self._digests)

    def _on_each(self, function: Callable[..., Any], *arguments: Any) -> dict[str, Any]:
        """The results of a function on each worker, by its address."""
        found: dict[str, Any] = self.client.run(function, *arguments)
        return found

    def _require_same_version(self) -> None:
        try:
            found = self._on_each(version)
        except ImportError as error:
            raise ClusterError(f"a worker of the cluster has no heapwright: install it there ({error})") from error
        if not found:
            raise ClusterError("the cluster has no workers: start some, such as `dask worker HOST:PORT`")
        other = next((f"{worker} has {each}" for worker, each in found.items() if each != version()), None)
        if other:
            raise ClusterError(f"heapwright is {version()} here, and {other}: install the same release")

    def _send(self, path: Path, worker: str) -> None:
        size = path.stat().st_size
        if size > MAX_SENT:
            what = f"{path}: {size:,} bytes are too many to send to {worker}"
            raise ClusterError(f"{what}; set TMPDIR to a folder that all workers see")
        packed = compressor(LEVEL)(path.read_bytes())
        self.client.run(keep, path, self._digests[path], size, packed, workers=[worker])


@contextmanager
def on_cluster(address: str) -> Iterator[Place]:
    """The workers of the cluster at `dask://HOST:PORT`. Raises ClusterError if it cannot be reached."""
    distributed = library()
    try:
        client = distributed.Client(address.replace(PREFIX, "tcp://", 1), timeout=PATIENCE)
    except (OSError, ValueError) as error:
        raise ClusterError(f"no Dask scheduler answers at {address}: start one with `dask scheduler`") from error
    with client:
        place = Cluster(client, (distributed.scheduler.KilledWorker,))
        try:
            yield place
        finally:
            place.clear()


def library() -> Any:
    try:
        import distributed
    except ImportError as error:
        raise ClusterError("--on needs Dask: pip install 'heapwright[dask]'") from error
    return distributed

"""The C header and the Rust crate that let programs use a compiled heap."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from heapwright.errors import UserError
from heapwright.files import check_output, written_whole

if TYPE_CHECKING:
    from heapwright.allocator import Allocator

INTERFACE = Path(__file__).parent.parent / "native" / "interface"
CRATE = INTERFACE / "crate"
FILES = ("Cargo.toml", "build.rs", "src/lib.rs")
ARCHIVE = "libheapwright_heap.a"  # the name that lib.rs links


def header_text(stack: Allocator) -> bytes:
    """The C header of every library and, behind it, that of the functions which only this allocator has."""
    own = INTERFACE / f"{stack.name}.h"
    files = [INTERFACE / "heapwright.h", *([own] if stack.interface else [])]
    return b"\n".join(file.read_bytes() for file in files)


def check_crate(folder: Path) -> None:
    """Refuse a folder that holds something else, before any work is done. Raises UserError."""
    check_output(folder / ARCHIVE if folder.is_dir() else folder)
    if folder.is_dir() and any(folder.iterdir()) and not is_ours(folder):
        raise UserError(f"{folder} holds something other than a heapwright crate: name a new folder")


def is_ours(folder: Path) -> bool:
    """Whether an earlier build wrote the crate in this folder."""
    manifest, mark = folder / "Cargo.toml", (CRATE / "Cargo.toml").read_text().splitlines()[0]
    return manifest.is_file() and manifest.read_text(errors="replace").startswith(mark)


def write_crate(folder: Path, stack: Allocator) -> None:
    """Write the crate of a stack: the sources and the compiled heap that they link. Raises UserError."""
    from heapwright.native.library import made_of

    heap = made_of(stack, "archive").read_bytes()
    try:
        (folder / "src").mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"{folder}: cannot be written: {os.strerror(error.errno or 0)}") from error
    for name in FILES:
        write(folder / name, (CRATE / name).read_bytes())
    write(folder / ARCHIVE, heap)


def write(path: Path, content: bytes) -> None:
    with written_whole(path) as file:
        file.write(content)

"""The numpy type of a struct, so that each layout is defined only once, in the dialect."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from heapwright.layout import StructMeta
from heapwright.traces.arrays import np

if TYPE_CHECKING:
    import numpy


def dtype_of(struct: StructMeta) -> numpy.dtype[Any]:
    """A numpy record type with the struct's fields at their offsets: little-endian, unsigned, arrays as raw bytes."""
    fields = list(struct)
    return np.dtype(
        {
            "names": [field.name for field in fields],
            "formats": [f"<u{field.kind.size}" if field.kind.size <= 8 else f"V{field.kind.size}" for field in fields],
            "offsets": [field.offset for field in fields],
            "itemsize": struct.SIZE,
        }
    )

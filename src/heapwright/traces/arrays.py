"""Numpy, imported when it is first used, so that a command without a trace does not wait for it.

The other modules of this package use `from heapwright.traces.arrays import np`, and name arrays by their elements:
`U8`, `U32`, `U64`, `I64`, `F64`, `Mask`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__all__ = ["F64", "I64", "U8", "U32", "U64", "Mask", "np"]

if TYPE_CHECKING:
    from typing import TypeAlias

    import numpy as np
    from numpy.typing import NDArray

    U8: TypeAlias = NDArray[np.uint8]
    U32: TypeAlias = NDArray[np.uint32]
    U64: TypeAlias = NDArray[np.uint64]
    I64: TypeAlias = NDArray[np.int64]
    F64: TypeAlias = NDArray[np.float64]
    Mask: TypeAlias = NDArray[np.bool_]
else:

    class LateNumpy:
        def __getattr__(self, name: str) -> Any:
            import numpy

            return getattr(numpy, name)

    np = LateNumpy()
    U8 = U32 = U64 = I64 = F64 = Mask = Any

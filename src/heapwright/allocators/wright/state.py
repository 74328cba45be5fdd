"""Wright's fields: the page heap, the roster of homes, huge ranges, the reserve, and what only a variant uses."""

from __future__ import annotations

from heapwright.allocators.wright import homes, known_segments, meshes, reserve, slots, tiles
from heapwright.layout import Inline, Struct


class Heap(Struct):
    pages: Inline[tiles.Pages]
    roster: Inline[homes.Roster]
    huge: Inline[slots.Huge]
    reserve: Inline[reserve.Reserve]
    meshes: Inline[meshes.Meshes]
    known: Inline[known_segments.Known]

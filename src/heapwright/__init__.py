"""Heap allocators written once in Python: simulated, checked, drawn, and compiled to a real malloc."""

from __future__ import annotations

__version__ = "0.1.0"

"""The runtime of every compiled malloc: written in the dialect, and part of the libraries that a process preloads.

`kernel`, `mappings`, `lifecycle`, `misuse`, `settings` and `report` are part of every heap, `recorder` only of the
library that records. `system` is the C library's own allocator.
"""

"""The heap as a map of addresses and time, for any malloc: where each block of a trace lies, and from when to when.

`follow` replays the trace, `raster` adds up what is too small to be kept singly, and `page` draws.
"""

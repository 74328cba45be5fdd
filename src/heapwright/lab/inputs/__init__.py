"""Inputs of the bench's real programs, generated for each bench. They are the same every time.

Most programs drain before they end: they free what they hold, write a line to the pipe `drained` and read their
standard input to its end, as `heapwright.lab.launcher` says.
"""

"""Stepping through a recorded run of an allocator, forward and back, from word to word. Nothing here is a terminal's.

events      the events of a run in compact columns: calls, loads, stores, kernel calls
state       what a machine is at one moment, and the changes that lead from one moment to the next
recorder    runs a program and records both
past        the heap of a past moment: it is walked, drawn and checked by the allocator's own functions
runs        repeated events, such as those of a loop, summarised
stepper     a position in a recording, its moves and its breakpoints
lines       what a reader sees there, as lines of text
screen      the terminal interface
"""

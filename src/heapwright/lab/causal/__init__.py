"""Replay a recording on real threads, in causal order.

    edges       what must happen before what, and the proof that nothing waits for itself
    passes      the loops over all events, compiled: sections, slots, critical paths
    plan        the whole plan of a replay: each thread's events, and the stops between them
    stops       where a thread waits, tells, starts another thread or joins one
    replay      do the plan with a malloc, in a fresh process
    figures     the figures of one malloc over all repeats

A thread does its own events in their recorded order. It waits for another thread in three cases only: a block comes
from there; the other thread must have started or ended first; or it would run so far ahead that more memory were live
than the recording ever had at about this time. All of these waits are for events that are earlier in the recording.
"""

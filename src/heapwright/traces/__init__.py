"""Traces: every allocation of a program, recorded, imported or synthesized, to be replayed and measured.

    events      the events of a trace, and its figures
    stacks      the call stacks that events refer to
    raw         the ring that recorded processes write
    conversion  from a ring's records to events, compiled
    format      the .hwt file
    importers   `open_trace`, for any kind of file
    exporters   `write_as`, for `.hwt` and the formats of other tools
    sources     a trace chunk by chunk; `cut`, `merge` and `passing` go through it
    synthesize  generated workloads
    flat        the form that a replayer reads

Importing these modules does not import numpy. Using them does.
"""

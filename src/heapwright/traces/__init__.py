"""Traces: every allocation of a program, recorded, imported or made up, to be replayed and measured.

    events      what a trace is, and its figures
    raw         what a recorder writes; `recording` reads it
    format      the .hwt file
    importers   `open_trace`: any kind of file
    export      .rep and Android text
    synthesize  workloads made up
    flat        what a replayer reads

Importing these modules does not import numpy; using them does.
"""

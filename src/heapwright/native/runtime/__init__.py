"""What runs inside a real process: written in the dialect, and compiled into the libraries.

`kernel`, `areas`, `lifecycle` and `report` are part of every heap, `recorder` of what records; `system` is the C
library's own allocator. `replayer` and the `workloads` do a job that a file describes (`replay_job`, `bench_job`)
and end the process; `replay_step`, `replay_memory` and `replay_latency` are parts of the replayer.
"""

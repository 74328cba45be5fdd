"""The lab's jobs inside a real process: written in the dialect and compiled, but not part of any malloc.

`replayer`, `curves`, `holder` and the `workloads` do a job that a file describes (`replay_job`, `curves_job`,
`hold_job`, `bench_job`) when they are loaded, and then end the process. `replay_step`, `replay_cold`, `replay_memory`
and `replay_latency` are parts of the replayer, and `curves_walk` is one of `curves`. The jobs measure whatever malloc
the process has.
"""

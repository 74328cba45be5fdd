"""The memory of a malloc over a whole trace: its parts at many samples, and figures of merit.

worker    the process that follows the trace, and stops at each sample
views     who reports the parts: our compiled walk, glibc's arenas, a peer's counters
parts     the parts at one sample, and the identity that they fulfil
columns   the curves: one list for each part
merit     the figures of merit of a run
measure   a run
"""

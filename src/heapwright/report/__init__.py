"""What a program asked its allocator for, who asked, and when: pure functions from a trace to findings.

    source    an open trace, read chunk by chunk
    callers   who asked: call stacks, or size classes if the trace has none
    blocks    the live blocks, and what each event changes
    tallies   what is summed over a process's events, one class for each subject
    profile   one pass over a process: all of the tallies
    trees     values of call stacks as trees, from the outermost frame or from the innermost
    remarks   sentences, the most remarkable first
    against   what grew from one recording to another

Memory: 44 bytes for each live block, some dozens for each call stack, and one decompressed chunk.
"""

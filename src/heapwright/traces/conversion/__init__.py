"""The conversion of records to events, in the dialect: `heapwright.lab.collector` has it compiled.

    state       what is known of the run, its chunks, threads and processes
    blocks      a table of a process's blocks by address
    output      a process's events, in columns, and their totals
    requests    what each record does to the blocks
    planes      the columns, as a trace's chunk stores them
    merging     the threads of a process, merged by their stamps
    passes      a pass over the chunks: read what is there, convert it, free chunks

Memory comes from mappings, because the allocator of this process is not ours to call.
"""

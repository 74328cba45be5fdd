"""The live world: the memory of another process or a core file, which is read and never written.

A `Source` (`process.Process`, `core.Core`) gives the mappings and their bytes. `memory.Image` turns it into a `Memory`,
over which structs and the allocators' own `walk`, `check` and `lists` run as over any other. Reading changes nothing:
the page map is read first, and a page that is not resident is not touched.

    mappings  pages  elf  structs           what /proc and ELF files say
    source  process  core  registers        where the bytes come from
    pause  walls  errors                    how a process is paused, and what forbids to read it
    memory  extent                          single loads; whole extents as arrays
    glibc/  jemalloc/  python/              heaps that are read block by block
    own  own_tally  rehearsal               heapwright's own allocators
    mimalloc  mimalloc3  tcmalloc  mallocng
                                            allocators that are read by their counters
    recognised  links  statistics           which allocator serves malloc, and what others are there
    look  findings  blocks  stacks          one look at all of it
    parts  pins  regions  kinds  cxx        where the memory is, what holds it back, and what the blocks are
    references  show                        what points to what
    report  diagnosis  verdict  advice      the answer
"""

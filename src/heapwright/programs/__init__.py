"""User programs for the simulated machine, one file each."""

PROGRAMS = {
    "boxtest": "Boxes of numbers, a string slice and an array: the program of the xv6rs documentation.",
    "vectest": "A Vec grows by doubling.",
    "stringtest": "A String grows to what is pushed.",
    "forktest": "A child with a heap of its own exits with 123.",
    "leaktest": "Leaks on purpose: a forgotten box, and two nodes that own each other.",
    "statstest": "Asks its heap for statistics.",
    "looptest": "A hundred boxes, one after the other, in the memory of one.",
    "cachetest": "Objects that stay constructed while they are free: what that saves.",
    "compacttest": "A fragmented heap before and after its blocks were moved.",
    "costtest": "What a Vec, a VecDeque, a String, a HashMap and a BTreeMap of as much ask of the heap.",
    "robson": "Robson's adversary: how much memory requests can make an allocator need, and the least of any.",
}

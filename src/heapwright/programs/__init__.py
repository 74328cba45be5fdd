"""User programs for the simulated machine, one in each file."""

PROGRAMS = {
    "boxtest": "Boxes of numbers, a string slice and an array; from the xv6rs documentation.",
    "vectest": "A Vec grows by doubling.",
    "stringtest": "A String grows as text is pushed.",
    "forktest": "A child process uses its own copy of the heap and exits with 123.",
    "leaktest": "Leaks on purpose: a forgotten box, and two nodes that own each other.",
    "statstest": "Asks its heap for statistics.",
    "looptest": "A hundred boxes, one after the other, all in the memory of one.",
    "testrunner": "The test cases of the xv6rs boxtest, and others, under its test harness.",
    "cachetest": "What it saves to keep objects constructed while they are free.",
    "compacttest": "A fragmented heap, before and after its blocks are moved.",
    "costtest": "What a Vec, VecDeque, String, HashMap and BTreeMap with the same contents cost the heap.",
    "robson": "Robson's adversary: the most memory that requests can make an allocator need, and the least possible.",
}

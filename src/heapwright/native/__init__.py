"""The compiled world: the same modules, compiled by LLVM to a library that needs no Python.

Only this package imports Numba. `pointers` defines structs in machine code and `intrinsics` defines memory. `compiler`
turns functions into one LLVM module; `library` links and caches it.
"""

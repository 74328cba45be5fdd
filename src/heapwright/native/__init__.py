"""The compiled world: the same modules as LLVM code in a library that needs no Python.

The only package that imports Numba. `pointers` gives structs their machine meaning, `intrinsics` the memory,
`compiler` turns functions into one LLVM module, `library` links and caches it.
"""

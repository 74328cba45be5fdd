"""CPython's memory: its small-object arenas, and the types of objects."""

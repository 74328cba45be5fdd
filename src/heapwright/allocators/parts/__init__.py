"""Parts that several allocators share: lists, maps, large blocks, memory from the kernel."""

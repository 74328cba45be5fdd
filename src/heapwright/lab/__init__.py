"""Measuring: replay a trace on allocators in fresh processes, and put the figures side by side."""

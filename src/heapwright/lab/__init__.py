"""Measurements: traces, workloads and programs on several mallocs in fresh processes, compared side by side."""

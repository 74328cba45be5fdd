"""The terminal interface of the stepper."""

"""The node as a process, as `make run` starts it."""

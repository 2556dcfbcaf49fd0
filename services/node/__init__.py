"""Every service in one process on an embedded database: what `make run` starts."""

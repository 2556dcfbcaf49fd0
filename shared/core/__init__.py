"""Clock, ids, errors, settings base: no I/O, no third-party framework beyond pydantic."""

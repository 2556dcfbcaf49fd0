"""`make bench-ingest`."""

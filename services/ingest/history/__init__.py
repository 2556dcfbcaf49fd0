"""History from files: what a file is, which column is which field, rows to items, and the way to the endpoint."""

"""Programs that measure. Nothing here asserts a time; each checks its own result."""

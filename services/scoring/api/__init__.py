"""Routes of scoring."""

"""Logs, traces, metrics. Metric names are a closed list (metrics.py)."""

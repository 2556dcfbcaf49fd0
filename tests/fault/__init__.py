"""Faults on purpose: what was accepted is not lost, what was done is not done twice."""

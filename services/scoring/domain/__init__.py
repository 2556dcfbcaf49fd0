"""The rules of scoring, pure: answers and their series, windows, statistics, scores."""

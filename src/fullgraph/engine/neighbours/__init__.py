"""Sums and extrema over in-neighbours: what a message that is the source row, weighted or not, becomes."""

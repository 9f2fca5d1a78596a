"""Attention over in-neighbours: a fused pass for each way to score an edge, and nothing stored per edge."""

"""The runs of cases that are too many for each to run in every mode on every number of ranks."""

Run = tuple[int, str, tuple[str, int]]
"""On how many ranks, in which mode, and how the graph is cut: by which method into how many parts."""

RUNS: list[list[Run]] = [
    [(3, "sar", ("random", 6)), (1, "keep", ("metis", 1)), (2, "halo", ("metis", 2))],
    [(4, "sar", ("metis", 4)), (2, "keep", ("metis", 2)), (1, "halo", ("metis", 1))],
    [(1, "sar", ("metis", 1)), (2, "keep", ("metis", 2)), (2, "halo", ("metis", 2))],
]
"""Groups that cases take in turn, each with all modes and with several ranks."""

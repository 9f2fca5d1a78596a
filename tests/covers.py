"""The cheapest rows that can carry edges from one rank to another, found in another way than the engine does."""

from collections.abc import Iterable

import numpy as np
from scipy.optimize import linprog

ROW_COST, SUM_COST = 5, 6


def cheapest_cover(edges: Iterable[tuple[int, int]]) -> tuple[set[int], set[int]]:
    """The sources and destinations with an end of every edge that cost least; of these the ones with most sources.

    A linear program, whose solution is whole since the graph is bipartite. A source counts a bit less than it costs,
    for the second condition, which leaves one answer.
    """
    pairs = np.array(sorted(set(edges)), dtype=np.int64).reshape(-1, 2)
    if not len(pairs):
        return set(), set()
    sources, src = np.unique(pairs[:, 0], return_inverse=True)
    destinations, dst = np.unique(pairs[:, 1], return_inverse=True)
    ends = np.concatenate([np.eye(len(sources))[src], np.eye(len(destinations))[dst]], axis=1)
    costs = np.repeat([ROW_COST - 1 / (len(sources) + 1), SUM_COST], [len(sources), len(destinations)])
    chosen = linprog(costs, A_ub=-ends, b_ub=-np.ones(len(pairs)), bounds=(0, 1)).x.round().astype(bool)
    return set(sources[chosen[: len(sources)]].tolist()), set(destinations[chosen[len(sources) :]].tolist())


def rows_of_cover(edges: Iterable[tuple[int, int]]) -> int:
    """How many rows carry the edges."""
    return sum(map(len, cheapest_cover(edges)))

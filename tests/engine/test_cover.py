"""A cover has an end of every edge, costs as little as can be, and prefers sources."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fullgraph.engine.walks.cover import cheapest_cover
from tests import covers

NUM_SRC, NUM_DST = 9, 7
EDGES = st.lists(st.tuples(st.integers(0, NUM_SRC - 1), st.integers(0, NUM_DST - 1)), max_size=40)


def cover(edges: list[tuple[int, int]]) -> tuple[set[int], set[int]]:
    src, dst = np.array(edges, dtype=np.int64).reshape(-1, 2).T
    by_source, by_destination = cheapest_cover(src, dst, NUM_SRC, NUM_DST)
    return set(np.flatnonzero(by_source).tolist()), set(np.flatnonzero(by_destination).tolist())


@given(EDGES)
def test_it_covers_every_edge_at_the_least_cost(edges):
    sources, destinations = cover(edges)
    assert all(src in sources or dst in destinations for src, dst in edges)
    assert (sources, destinations) == covers.cheapest_cover(edges)


@pytest.mark.parametrize(
    ("edges", "sources", "destinations"),
    [
        ([], [], []),
        ([(0, 0)], [0], []),
        ([(0, 0)] * 9, [0], []),
        ([(s, 0) for s in range(5)], [], [0]),
        ([(0, d) for d in range(5)], [0], []),
        ([(s, 0) for s in range(5)] + [(0, d) for d in range(5)], [0], [0]),
        ([(s, d) for s in range(3) for d in range(3)], [0, 1, 2], []),
        ([(s, d) for s in range(4) for d in range(3)], [], [0, 1, 2]),
        ([(s, d) for s in range(5) for d in range(4)], [], [0, 1, 2, 3]),
        ([(s, d) for s in range(6) for d in range(5)], [0, 1, 2, 3, 4, 5], []),
        ([(s, d) for s in range(7) for d in range(5)], [], [0, 1, 2, 3, 4]),
    ],
)
def test_hubs_are_covered_and_rows_travel_whole_where_partial_sums_save_nothing(edges, sources, destinations):
    assert cover(edges) == (set(sources), set(destinations))

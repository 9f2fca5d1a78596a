"""A cover has an end of every edge, is as small as can be, and prefers sources."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fullgraph.engine.cover import minimum_cover
from tests.matching import smallest_cover

NUM_SRC, NUM_DST = 9, 7
EDGES = st.lists(st.tuples(st.integers(0, NUM_SRC - 1), st.integers(0, NUM_DST - 1)), max_size=40)


def covers(edges: list[tuple[int, int]]) -> tuple[np.ndarray, np.ndarray]:
    src, dst = np.array(edges, dtype=np.int64).reshape(-1, 2).T
    return minimum_cover(src, dst, NUM_SRC, NUM_DST)


@given(EDGES)
def test_it_covers_every_edge_with_as_few_rows_as_possible(edges):
    by_source, by_destination = covers(edges)
    assert all(by_source[src] or by_destination[dst] for src, dst in edges)
    assert by_source.sum() + by_destination.sum() == smallest_cover(edges)


@pytest.mark.parametrize(
    ("edges", "sources", "destinations"),
    [
        ([], [], []),
        ([(0, 0)], [0], []),
        ([(s, 0) for s in range(5)], [], [0]),
        ([(0, d) for d in range(5)], [0], []),
        ([(s, 0) for s in range(5)] + [(0, d) for d in range(5)], [0], [0]),
        ([(s, d) for s in range(3) for d in range(3)], [0, 1, 2], []),
    ],
)
def test_hubs_are_covered_and_rows_travel_whole_where_partial_sums_save_nothing(edges, sources, destinations):
    by_source, by_destination = covers(edges)
    assert np.flatnonzero(by_source).tolist() == sources
    assert np.flatnonzero(by_destination).tolist() == destinations

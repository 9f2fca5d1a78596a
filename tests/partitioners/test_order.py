"""The order inside a part: a permutation, grouped by part, that brings neighbours together."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fullgraph.graph import EDGE, NODE, Graph
from fullgraph.partitioners import assign_parts, locality_order
from fullgraph.partitioners import order as order_module
from tests.graph.samples import graphs


@settings(deadline=None, max_examples=60)
@given(graphs(), st.integers(1, 3))
def test_a_permutation_grouped_by_part(graph: Graph, num_parts: int) -> None:
    num_parts = min(num_parts, sum(graph.num_nodes.values()))
    parts = assign_parts(graph, num_parts=num_parts, method="random", seed=0)
    for node_type, ids in locality_order(graph, parts).items():
        np.testing.assert_array_equal(np.sort(ids), np.arange(graph.num_nodes[node_type]))
        assert (np.diff(parts[node_type][ids]) >= 0).all()


def shuffled_ring(num_nodes: int) -> Graph:
    names = np.random.default_rng(0).permutation(num_nodes)
    return Graph.homogeneous(np.stack([names, np.roll(names, 1)]), num_nodes=num_nodes)


def bandwidth(graph: Graph, ids: np.ndarray) -> int:
    place = np.argsort(ids)
    return int(np.abs(place[graph.edges[EDGE].src] - place[graph.edges[EDGE].dst]).max())


def test_neighbours_of_a_ring_come_together() -> None:
    graph = shuffled_ring(500)
    order = locality_order(graph, {NODE: np.zeros(500, np.int32)})[NODE]
    assert bandwidth(graph, order) <= 2
    assert bandwidth(graph, np.arange(500)) > 100


def test_hubs_come_first_and_hide_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    ring = shuffled_ring(500)
    spokes = np.arange(500)
    edges = np.concatenate(
        [np.stack([ring.edges[EDGE].src, ring.edges[EDGE].dst]), np.stack([np.full(500, 500), spokes])], axis=1
    )
    graph = Graph.homogeneous(edges, num_nodes=501)
    monkeypatch.setattr(order_module, "_HUB", 100)
    order = locality_order(graph, {NODE: np.zeros(501, np.int32)})[NODE]
    assert order[0] == 500
    assert bandwidth(ring, order[1:]) <= 2

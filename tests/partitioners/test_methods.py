"""Laws of every partitioner: each node in one part, no part empty, the same seed the same parts."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fullgraph.datasets.synthetic import Size, synthetic
from fullgraph.errors import InputError
from fullgraph.graph import EDGE, NODE, Edges, Graph
from fullgraph.partitioners import METHODS, assign_parts
from tests.graph.samples import graphs, small_graph

METHOD_NAMES = sorted(METHODS)


@pytest.fixture(scope="module")
def communities() -> Graph:
    return synthetic(Size(num_nodes=1_000, num_edges=20_000, num_communities=10, num_features=1, num_classes=2))


@settings(deadline=None, max_examples=60)
@given(graphs(), st.data())
def test_every_node_has_a_part_and_every_part_a_node(graph: Graph, data: st.DataObject) -> None:
    num_parts = data.draw(st.integers(1, sum(graph.num_nodes.values())))
    method = data.draw(st.sampled_from(METHOD_NAMES))
    parts = assign_parts(graph, num_parts=num_parts, method=method, seed=2)
    assert {node_type: len(array) for node_type, array in parts.items()} == dict(graph.num_nodes)
    np.testing.assert_array_equal(np.unique(np.concatenate(list(parts.values()))), np.arange(num_parts))


@pytest.mark.parametrize("method", METHOD_NAMES)
def test_the_seed_decides(method: str, communities: Graph) -> None:
    one, same, other = (assign_parts(communities, num_parts=4, method=method, seed=seed)[NODE] for seed in (3, 3, 4))
    np.testing.assert_array_equal(one, same)
    assert (method == "contiguous") == np.array_equal(one, other)


@pytest.mark.parametrize("method", METHOD_NAMES)
@pytest.mark.parametrize("num_parts", [2, 7, 12])
def test_parts_are_even(method: str, num_parts: int, communities: Graph) -> None:
    sizes = np.bincount(assign_parts(communities, num_parts=num_parts, method=method, seed=0)[NODE])
    assert sizes.max() / sizes.mean() < (1.25 if method == "metis" else 1.02)


def test_metis_balances_edges_too(communities: Graph) -> None:
    parts = assign_parts(communities, num_parts=4, method="metis", seed=0)[NODE]
    num_edges = np.bincount(parts[communities.edges[EDGE].dst])
    assert num_edges.max() / num_edges.mean() < 1.2


def test_metis_cuts_less_than_random(communities: Graph) -> None:
    edges = communities.edges[EDGE]

    def cut(method: str) -> int:
        parts = assign_parts(communities, num_parts=4, method=method, seed=0)[NODE]
        return int((parts[edges.src] != parts[edges.dst]).sum())

    assert cut("metis") < 0.6 * cut("random")


def test_metis_finds_two_cliques_joined_by_an_edge() -> None:
    first = np.array([(i, j) for i in range(8) for j in range(8)])
    edge_index = np.concatenate([first, first + 8, [[0, 8]]]).T
    parts = assign_parts(Graph.homogeneous(edge_index, num_nodes=16), num_parts=2, method="metis", seed=0)[NODE]
    assert len(set(parts[:8])) == len(set(parts[8:])) == 1
    assert parts[0] != parts[8]


def test_metis_puts_papers_beside_their_authors() -> None:
    # two groups of papers and authors, joined only across types
    src = np.array([0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 3])
    dst = np.array([0, 1, 2, 0, 1, 2, 3, 4, 5, 3, 4, 5])
    graph = Graph(
        num_nodes={"author": 4, "paper": 6},
        node_arrays={},
        edges={("author", "writes", "paper"): Edges(src=src, dst=dst)},
    )
    parts = assign_parts(graph, num_parts=2, method="metis", seed=0)
    np.testing.assert_array_equal(parts["author"][src], parts["paper"][dst])


def test_contiguous_literally() -> None:
    parts = assign_parts(small_graph(), num_parts=3, method="contiguous", seed=0)
    np.testing.assert_array_equal(parts[NODE], [0, 0, 0, 1, 1, 2, 2])


@pytest.mark.parametrize("method", METHOD_NAMES)
def test_a_hub_with_most_of_the_edges(method: str) -> None:
    spokes = np.arange(1, 2_000)
    graph = Graph.homogeneous(np.stack([spokes, np.zeros_like(spokes)]), num_nodes=2_000)
    parts = assign_parts(graph, num_parts=4, method=method, seed=0)[NODE]
    assert (np.bincount(parts, minlength=4) > 0).all()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_parts": 8}, "a graph of 7 nodes cuts into 7 parts at most, ask for fewer: 8"),
        ({"num_parts": 0}, "num_parts must be at least 1: 0"),
        (
            {"num_parts": 2, "method": "spectral"},
            "the partitioning method must be one of metis, random, contiguous: 'spectral'",
        ),
        ({"num_parts": 2, "seed": -1}, "seed must be from 0 to 2147483647: -1"),
    ],
)
def test_bad_arguments(arguments: dict, message: str) -> None:
    with pytest.raises(InputError) as caught:
        assign_parts(small_graph(), **arguments)
    assert str(caught.value) == message

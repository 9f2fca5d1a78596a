"""The seeded generator: exact counts, both directions, communities, a heavy tail, and the same graph every time."""

import numpy as np
import pytest

from fullgraph.datasets import load
from fullgraph.datasets.synthetic import SIZES, Size, synthetic
from fullgraph.errors import InputError
from fullgraph.graph import EDGE, NODE, Graph

SIZE = Size(num_nodes=2_000, num_edges=42_000, num_communities=8, num_features=6, num_classes=4, seed=3)


@pytest.fixture(scope="module")
def graph() -> Graph:
    return synthetic(SIZE)


def test_counts_and_shapes(graph: Graph) -> None:
    edges, arrays = graph.edges[EDGE], graph.node_arrays[NODE]
    assert edges.num_edges == 42_000
    assert arrays["x"].shape == (2_000, 6)
    assert arrays["x"].dtype == np.float32
    assert set(arrays["y"]) == {0, 1, 2, 3}
    masks = np.stack([arrays[mask] for mask in ("train_mask", "val_mask", "test_mask")])
    np.testing.assert_array_equal(masks.sum(axis=0), 1)
    assert 0.05 < arrays["train_mask"].mean() < 0.11


def test_both_directions_a_loop_each_and_nothing_twice(graph: Graph) -> None:
    edges = graph.edges[EDGE]
    forward, backward = edges.dst * 2_000 + edges.src, edges.src * 2_000 + edges.dst
    assert (np.diff(forward) > 0).all()  # sorted by destination, then source, no edge twice
    np.testing.assert_array_equal(np.sort(backward), forward)
    np.testing.assert_array_equal(np.sort(edges.src[edges.src == edges.dst]), np.arange(2_000))


def test_labels_show_in_features_and_edges(graph: Graph) -> None:
    edges, arrays = graph.edges[EDGE], graph.node_arrays[NODE]
    proper = edges.src != edges.dst
    same = arrays["y"][edges.src[proper]] == arrays["y"][edges.dst[proper]]
    by_chance = (np.bincount(arrays["y"]) / 2_000 @ np.bincount(arrays["y"])) / 2_000
    assert same.mean() > by_chance + 0.2
    means = np.stack([arrays["x"][arrays["y"] == label].mean(axis=0) for label in range(4)])
    assert np.linalg.norm(means[0] - means[1]) > 0.1


def test_degrees_have_a_heavy_tail(graph: Graph) -> None:
    degree = np.bincount(graph.edges[EDGE].dst, minlength=2_000)
    assert degree.max() > 8 * np.median(degree)


def test_the_seed_decides(graph: Graph) -> None:
    same = synthetic(SIZE)
    np.testing.assert_array_equal(same.edges[EDGE].src, graph.edges[EDGE].src)
    np.testing.assert_array_equal(same.node_arrays[NODE]["x"], graph.node_arrays[NODE]["x"])
    other = synthetic(Size(num_nodes=2_000, num_edges=42_000, num_communities=8, seed=4))
    assert not np.array_equal(other.edges[EDGE].src, graph.edges[EDGE].src)


def test_names_and_sizes() -> None:
    tiny = load("synthetic_tiny")
    assert (tiny.num_nodes[NODE], tiny.edges[EDGE].num_edges) == (1_000, 20_000)
    assert (SIZES["synthetic-small"].num_nodes, SIZES["synthetic-small"].num_edges) == (50_000, 2_500_000)
    assert (SIZES["synthetic-large"].num_nodes, SIZES["synthetic-large"].num_edges) == (200_000, 10_000_000)


def test_as_dense_as_it_may_be() -> None:
    dense = synthetic(Size(num_nodes=40, num_edges=400, num_communities=3, num_classes=2))
    assert dense.edges[EDGE].num_edges == 400


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"num_edges": 9}, "num_edges of a synthetic graph of 10 nodes must be from 10 (self-loops) to 25: 9"),
        ({"num_edges": 26}, "num_edges of a synthetic graph of 10 nodes must be from 10 (self-loops) to 25: 26"),
        ({"num_communities": 0}, "num_communities of a synthetic graph must be at least 1: 0"),
        ({"seed": -1}, "seed of a synthetic graph must be at least 0: -1"),
    ],
)
def test_bad_sizes(change: dict[str, int], message: str) -> None:
    with pytest.raises(InputError) as caught:
        Size(**{"num_nodes": 10, "num_edges": 20, "num_communities": 2, **change})
    assert str(caught.value) == message

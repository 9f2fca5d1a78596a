"""A graph that breaks a rule is refused when it is made, with one sentence that says which rule."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from fullgraph.errors import InputError
from fullgraph.graph import EDGE, NODE, Edges, Graph

INDEX = np.array([[0, 1], [1, 2]])


def homogeneous(edge_index: np.ndarray = INDEX, **arrays: Any) -> Callable[[], Graph]:
    return lambda: Graph.homogeneous(edge_index, num_nodes=3, **arrays)


BAD: dict[str, tuple[Callable[[], Graph], str]] = {
    "id too large": (
        homogeneous(np.array([[0, 3], [1, 2]])),
        "src of relation ('node', 'to', 'node') must have ids below 3, the number of nodes; edge 1 has: 3",
    ),
    "negative id": (
        homogeneous(np.array([[0, 1], [-2, 2]])),
        "dst of relation ('node', 'to', 'node') must not have a negative id; edge 0 has: -2",
    ),
    "ids that are no whole numbers": (
        homogeneous(INDEX.astype(np.float32)),
        "edge_index must hold whole numbers (int64 or int32), cast it first: float32",
    ),
    "edge_index of another shape": (homogeneous(INDEX.T[:1]), "edge_index must have shape [2, num_edges]: [1, 2]"),
    "int32 edges": (
        lambda: Graph(
            num_nodes={NODE: 3}, node_arrays={}, edges={EDGE: Edges(src=np.zeros(1, np.int32), dst=np.zeros(1, int))}
        ),
        "src of relation ('node', 'to', 'node') must be int64 with shape [num_edges]: int32 [1]",
    ),
    "more sources than destinations": (
        lambda: Graph(
            num_nodes={NODE: 3}, node_arrays={}, edges={EDGE: Edges(src=np.zeros(2, int), dst=np.zeros(1, int))}
        ),
        "relation ('node', 'to', 'node') has 2 sources, so it needs as many destinations: 1",
    ),
    "too few features": (
        homogeneous(x=np.zeros((2, 2))),
        "x of node type 'node' must have one row for each of 3 nodes: 2 rows",
    ),
    "NaN": (
        homogeneous(x=np.array([[0.0], [np.nan], [0.0]])),
        "x of node type 'node' must be finite, replace NaN and infinity; row 1 has: nan",
    ),
    "infinity": (
        homogeneous(x=np.array([[0.0], [0.0], [-np.inf]], np.float32)),
        "x of node type 'node' must be finite, replace NaN and infinity; row 2 has: -inf",
    ),
    "infinite weight": (
        homogeneous(edge_arrays={"edge_weight": np.array([1.0, np.inf])}),
        "edge_weight of relation ('node', 'to', 'node') must be finite, replace NaN and infinity; row 1 has: inf",
    ),
    "mask too short": (
        homogeneous(train_mask=np.ones(2, bool)),
        "train_mask of node type 'node' must have one row for each of 3 nodes: 2 rows",
    ),
    "mask of numbers": (
        homogeneous(val_mask=np.ones(3, np.int64)),
        "val_mask of node type 'node' must be bool with shape [num_nodes] or [num_nodes, num_splits]: int64 [3]",
    ),
    "labels of three dimensions": (
        homogeneous(y=np.zeros((3, 1, 1), int)),
        "y of node type 'node' must have shape [num_nodes] or [num_nodes, num_classes]: [3, 1, 1]",
    ),
    "objects": (
        homogeneous(names=np.array(["a", None, 1], object)),
        (
            "names of node type 'node' must have one of the dtypes bool, uint8, int8, int16, int32, int64, float16, "
            "float32, float64: object"
        ),
    ),
    "a list": (homogeneous(y=[0, 1, 2]), "y of node type 'node' must be a numpy array: list"),
    "a single value": (
        homogeneous(edge_arrays={"edge_weight": np.array(1.0)}),
        "edge_weight of relation ('node', 'to', 'node') must have rows, not be a single value: 1.0",
    ),
    "reserved name": (
        homogeneous(ids=np.arange(3)),
        "an array cannot be named 'ids', the format keeps that name; rename ids of node type 'node': 'ids'",
    ),
    "too few edge rows": (
        homogeneous(edge_arrays={"edge_attr": np.zeros((1, 2))}),
        "edge_attr of relation ('node', 'to', 'node') must have one row for each of 2 edges: 1 rows",
    ),
    "no node type": (
        lambda: Graph(num_nodes={}, node_arrays={}, edges={}),
        "a graph needs at least one node type; num_nodes names none: {}",
    ),
    "negative number of nodes": (
        lambda: Graph(num_nodes={"a": -1}, node_arrays={}, edges={}),
        "num_nodes of node type 'a' must be 0 or more: -1",
    ),
    "unknown node type": (
        lambda: Graph(num_nodes={"a": 1}, node_arrays={"b": {}}, edges={}),
        "node_arrays has a node type that num_nodes does not name: 'b'",
    ),
    "relation to nowhere": (
        lambda: Graph(
            num_nodes={"a": 1},
            node_arrays={},
            edges={("a", "r", "b"): Edges(src=np.zeros(0, int), dst=np.zeros(0, int))},
        ),
        "relation ('a', 'r', 'b') joins a node type that num_nodes does not name: 'b'",
    ),
    "empty name": (
        lambda: Graph(num_nodes={"": 1}, node_arrays={}, edges={}),
        "the name of a node type must be text that is not empty: ''",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_graphs_are_refused(case: str) -> None:
    make, message = BAD[case]
    with pytest.raises(InputError) as caught:
        make()
    assert str(caught.value) == message


def test_odd_but_good_graphs_are_kept_as_they_are() -> None:
    index = np.array([[0, 0, 0, 1], [1, 1, 0, 1]], np.int32)  # repeated edges, self-loops, node 2 isolated
    graph = Graph.homogeneous(index, num_nodes=3, y=np.array([-1, 0, 1]), train_mask=np.zeros((3, 10), bool))
    assert graph.edges[EDGE].src.dtype == np.int64
    np.testing.assert_array_equal(np.stack([graph.edges[EDGE].src, graph.edges[EDGE].dst]), index)
    assert graph.edges[EDGE].num_edges == 4


def test_nan_is_found_beyond_the_first_block_of_rows() -> None:
    x = np.zeros((5_000_000, 1), np.float16)
    x[4_500_000] = np.nan
    with pytest.raises(InputError, match="row 4500000 has: nan"):
        Graph.homogeneous(np.zeros((2, 0), np.int64), num_nodes=len(x), x=x)

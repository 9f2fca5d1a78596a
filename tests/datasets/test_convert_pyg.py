"""From PyG's containers to a graph: every tensor with rows is kept, nothing is mistaken for another."""

import warnings
from typing import Any

import numpy as np
import pytest
import torch
from torch_geometric.data import Data, HeteroData
from torch_geometric.transforms import ToSparseTensor

from fullgraph.datasets import graph_from_pyg
from fullgraph.errors import InputError
from fullgraph.graph import EDGE, NODE

INDEX = torch.tensor([[0, 1, 2, 2], [1, 2, 0, 0]])


def test_node_and_edge_arrays() -> None:
    data = Data(
        x=torch.ones(3, 2, requires_grad=True),
        edge_index=INDEX.int(),
        edge_attr=torch.arange(8.0).view(4, 2),
        edge_weight=torch.ones(4, dtype=torch.bfloat16),
        y=torch.tensor([0, 1, -1]),
        train_mask=torch.tensor([[True, False]] * 3),
        pos=torch.zeros(3, 3),
        colour_of_edge=torch.arange(4),
        graph_label=torch.tensor(1.0),
        name="three nodes",
        lengths=torch.zeros(9),
    )
    with pytest.warns(UserWarning, match=r"left out: graph_label, lengths$"):
        graph = graph_from_pyg(data)
    assert graph.num_nodes == {NODE: 3}
    assert set(graph.node_arrays[NODE]) == {"x", "y", "train_mask", "pos"}
    assert set(graph.edges[EDGE].arrays) == {"edge_attr", "edge_weight", "colour_of_edge"}
    np.testing.assert_array_equal(graph.edges[EDGE].arrays["edge_attr"], data.edge_attr)
    assert graph.edges[EDGE].arrays["edge_weight"].dtype == np.float32
    np.testing.assert_array_equal(np.stack([graph.edges[EDGE].src, graph.edges[EDGE].dst]), INDEX)


def test_as_many_edges_as_nodes() -> None:
    data = Data(edge_index=INDEX[:, :3], num_nodes=3, edge_colour=torch.arange(3), colour=torch.arange(3))
    graph = graph_from_pyg(data)
    assert list(graph.edges[EDGE].arrays) == ["edge_colour"]
    assert list(graph.node_arrays[NODE]) == ["colour"]


def test_sparse_features_become_dense() -> None:
    x = torch.tensor([[0.0, 1.0], [2.0, 0.0], [0.0, 0.0]])
    graph = graph_from_pyg(Data(x=x.to_sparse(), edge_index=INDEX, num_nodes=3))
    np.testing.assert_array_equal(graph.node_arrays[NODE]["x"], x)


def test_heterogeneous() -> None:
    data = HeteroData()
    data["paper"].x = torch.ones(3, 2)
    data["paper"].y = torch.tensor([0, 1, 0])
    data["author"].num_nodes = 2
    data["author", "writes", "paper"].edge_index = torch.tensor([[0, 1], [2, 0]])
    data["author", "writes", "paper"].edge_attr = torch.ones(2, 4)
    graph = graph_from_pyg(data)
    assert graph.num_nodes == {"paper": 3, "author": 2}
    assert graph.node_arrays["author"] == {}
    assert list(graph.edges) == [("author", "writes", "paper")]
    assert graph.edges["author", "writes", "paper"].arrays["edge_attr"].shape == (2, 4)


def hetero_without_index() -> HeteroData:
    data = HeteroData()
    data["a"].num_nodes = 2
    data["a", "r", "a"].edge_attr = torch.ones(2)
    return data


def with_adj_t(index: torch.Tensor) -> Data:
    with warnings.catch_warnings(action="ignore"):  # torch's sparse tensors are in beta
        return ToSparseTensor()(Data(x=torch.ones(3, 2), edge_index=index))


def test_adj_t() -> None:
    graph = graph_from_pyg(with_adj_t(torch.tensor([[0, 1, 1, 2], [1, 0, 2, 0]])))
    assert set(zip(graph.edges[EDGE].src.tolist(), graph.edges[EDGE].dst.tolist(), strict=True)) == {
        (0, 1),
        (1, 0),
        (1, 2),
        (2, 0),
    }
    assert list(graph.node_arrays[NODE]) == ["x"]


BAD: list[tuple[Any, str]] = [
    (
        with_adj_t(torch.tensor([[0, 1], [1, 1]])),
        (
            "adj_t of the graph has self-loops, which PyG's layers double in a torch.sparse matrix and nowhere else; "
            "give edge_index, without ToSparseTensor: [3, 3]"
        ),
    ),
    (
        Data(x=torch.ones(3, 2)),
        (
            "the graph needs an edge_index, an integer tensor [2, num_edges], or an adj_t that ToSparseTensor made "
            "without weights: NoneType"
        ),
    ),
    (
        hetero_without_index(),
        (
            "relation ('a', 'r', 'a') needs an edge_index, an integer tensor [2, num_edges], or an adj_t that "
            "ToSparseTensor made without weights: NoneType"
        ),
    ),
    (Data(x=torch.ones(3, 2), edge_index=INDEX.T), "edge_index of the graph must have shape [2, num_edges]: [4, 2]"),
    (
        Data(x=torch.ones(3, 2), edge_index=INDEX.float()),
        "edge_index of the graph must hold whole numbers (int64 or int32), cast it first: float32",
    ),
    (
        Data(x=torch.ones(2, 2), edge_index=INDEX),
        "src of relation ('node', 'to', 'node') must have ids below 2, the number of nodes; edge 2 has: 2",
    ),
    (
        Data(x=torch.ones(3, 2), edge_index=INDEX - 1),
        "src of relation ('node', 'to', 'node') must not have a negative id; edge 0 has: -1",
    ),
    (
        Data(x=torch.ones(3, 2), edge_index=INDEX, val_mask=torch.ones(2, dtype=torch.bool)),
        "val_mask of node type 'node' must have one row for each of 3 nodes: 2 rows",
    ),
    (
        Data(x=torch.ones(3, 2), edge_index=INDEX, edge_weight=torch.ones(3)),
        "edge_weight of relation ('node', 'to', 'node') must have one row for each of 4 edges: 3 rows",
    ),
    (
        Data(x=torch.full((3, 2), torch.inf), edge_index=INDEX),
        "x of node type 'node' must be finite, replace NaN and infinity; row 0 has: inf",
    ),
    ({"x": 1}, "a graph to partition is a PyG Data or HeteroData or a fullgraph Graph: dict"),
]


@pytest.mark.parametrize("at", range(len(BAD)))
def test_bad_data(at: int) -> None:
    data, message = BAD[at]
    with pytest.raises(InputError) as caught:
        graph_from_pyg(data)
    assert str(caught.value) == message

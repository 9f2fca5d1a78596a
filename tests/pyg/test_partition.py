"""``fullgraph.partition``: a PyG graph goes in, the same graph in parts comes out."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch_geometric.data import Data, HeteroData

from fullgraph.errors import InputError
from fullgraph.graph import EDGE
from fullgraph.pyg.partition import partition


def ring(num_nodes: int = 12) -> Data:
    nodes = torch.arange(num_nodes)
    edge_index = torch.stack([torch.cat([nodes, nodes]), torch.cat([nodes.roll(1), nodes.roll(-1)])])
    return Data(x=torch.rand(num_nodes, 3), edge_index=edge_index, edge_attr=torch.rand(2 * num_nodes, 2))


@pytest.mark.parametrize("method", ["metis", "random", "contiguous"])
def test_every_row_and_edge_comes_back(method: str, tmp_path: Path) -> None:
    data = ring()
    stored = partition(data, tmp_path / "ring.fg", num_parts=3, method=method, seed=1)
    assert (stored.num_parts, stored.manifest.method, stored.num_features("node")) == (3, method, 3)
    parts = [stored.read_part(part) for part in range(3)]
    original = np.concatenate([part.node_ids["node"] for part in parts])
    for part in parts:
        torch.testing.assert_close(torch.from_numpy(part.node_arrays["node"]["x"]), data.x[part.node_ids["node"]])
        own = part.edges[EDGE]
        np.testing.assert_array_equal(original[own.src], data.edge_index[0][own.edge_ids])
        torch.testing.assert_close(torch.from_numpy(own.arrays["edge_attr"]), data.edge_attr[own.edge_ids])
    assert sorted(np.concatenate([part.edges[EDGE].edge_ids for part in parts])) == list(range(24))


def test_parts_of_a_ring_are_stored_as_paths(tmp_path: Path) -> None:
    stored = partition(ring(), tmp_path / "ring.fg", num_parts=2, method="contiguous")
    ids = stored.read_part(0).node_ids["node"]
    assert np.abs(np.diff(ids)).max() == 1  # neighbours beside each other


def test_heterogeneous_data(tmp_path: Path) -> None:
    data = HeteroData()
    data["paper"].x = torch.ones(3, 2)
    data["author"].num_nodes = 2
    data["author", "writes", "paper"].edge_index = torch.tensor([[0, 1], [2, 0]])
    stored = partition(data, tmp_path / "g.fg", num_parts=2)
    assert stored.node_types == ("paper", "author")
    assert stored.relations == (("author", "writes", "paper"),)
    assert stored.num_edges(("author", "writes", "paper")) == 2


def test_more_parts_than_nodes_writes_nothing(tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        partition(ring(), tmp_path / "g.fg", num_parts=13)
    assert str(caught.value) == "a graph of 12 nodes cuts into 12 parts at most, ask for fewer: 13"
    assert not list(tmp_path.iterdir())


def test_overwrite(tmp_path: Path) -> None:
    partition(ring(), tmp_path / "g.fg", num_parts=2)
    with pytest.raises(InputError, match="there is something at the target already"):
        partition(ring(), tmp_path / "g.fg", num_parts=3)
    assert partition(ring(), tmp_path / "g.fg", num_parts=3, overwrite=True).num_parts == 3

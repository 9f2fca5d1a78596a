"""What is told before a run, and what a layer that runs on some edges at a time does not leave behind."""

import pytest
import torch
from torch_geometric import nn as pyg

import fullgraph as fg
from tests.equivalence.graphs import awkward_graph


@pytest.fixture
def data():
    return fg.open(awkward_graph(), chunk_edges=50)


def test_a_line_per_layer_and_nothing_changes(data):
    model = torch.nn.ModuleDict(
        {
            "a": pyg.GCNConv(6, 4),
            "b": pyg.EdgeConv(torch.nn.Linear(12, 4)),
            "c": pyg.GCNConv(6, 4, flow="target_to_source"),
            "d": torch.nn.InstanceNorm1d(4),
            "e": torch.nn.Dropout(),
            "f": pyg.EdgeConv(torch.nn.Linear(12, 4), aggr="median"),
            "g": torch.nn.Linear(4, 4),
        }
    )
    classes = [type(module) for module in model.modules()]
    share, headings, *lines = fg.explain(model, data).splitlines()
    assert share == "rank 0 of 1: 67 own rows, 0 rows needed from other ranks, mode sar"
    assert headings.split()[:3] == ["layer", "class", "runs"]
    ways = ["walk", "block by block", "all at once", "by neighbourhood"]
    assert len(lines) == len(ways)
    for name, way, line in zip("abcf", ways, lines, strict=True):
        assert line.startswith(f"{name} ")
        assert way in line
    assert [type(module) for module in model.modules()] == classes
    assert fg.explain(fg.prepare(model, data), data).splitlines()[2:] == lines


def test_a_tensor_of_some_edges_cannot_be_read_afterwards(data):
    class Remembers(pyg.MessagePassing):
        seen = None

        def forward(self, x, edge_index):
            return self.propagate(edge_index, x=x)

        def message(self, x_j):
            self.seen = x_j
            return x_j

    layer = Remembers()
    layer.seen = None
    fg.prepare(layer, data)
    layer(data.x, data.edge_index)
    with pytest.raises(fg.errors.UnsupportedOperation, match=r"keeps no tensor of all edges.*: seen"):
        layer.seen.mean()

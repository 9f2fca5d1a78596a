"""What is told before a run, and what a layer that runs on some edges at a time does not leave behind."""

import pytest
import torch
from torch_geometric import nn as pyg

import fullgraph as fg
from tests.equivalence.graphs import awkward_graph


@pytest.fixture
def data(tmp_path):
    fg.partition(awkward_graph(), tmp_path / "graph.fg", num_parts=1)
    return fg.open(tmp_path / "graph.fg", chunk_edges=50)


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
    ways = ["walk", "block by block", "all at once", "refused", "row-wise", "by neighbourhood"]
    assert len(lines) == len(ways)
    for name, way, line in zip("abcdef", ways, lines, strict=True):
        assert line.startswith(f"{name} ")
        assert way in line
    assert [type(module) for module in model.modules()] == classes
    del model["d"]
    assert fg.explain(fg.convert(model, data), data).splitlines()[2:5] == fg.explain(model, data).splitlines()[2:5]


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
    fg.convert(layer, data)
    layer(data.x, data.edge_index)
    with pytest.raises(fg.errors.UnsupportedOperation, match=r"keeps no tensor of all edges.*: seen"):
        layer.seen.mean()


def test_a_median_where_the_first_rows_have_no_neighbours(data):
    median = fg.convert(pyg.aggr.MedianAggregation(), data)
    x = torch.tensor([[3.0], [1.0], [2.0], [7.0]])
    index = torch.tensor([2, 2, 2, 4])
    assert median(x, index, dim_size=6).tolist() == [[0.0], [0.0], [2.0], [0.0], [7.0], [0.0]]
    assert median(x[:0], index[:0], dim_size=2).tolist() == [[0.0], [0.0]]

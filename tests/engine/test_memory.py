"""No layer that walks makes a tensor with a row per edge and a column per feature, forward or backward."""

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch_geometric import nn as pyg
from torch_geometric.data import Data

import fullgraph as fg
from fullgraph.config import MODES

NUM_NODES, NUM_EDGES, WIDTH, HEADS = 100, 8000, 32, 2
LAYERS = {
    "gcn": lambda: pyg.GCNConv(WIDTH, WIDTH),
    "sage mean": lambda: pyg.SAGEConv(WIDTH, WIDTH),
    "sage max": lambda: pyg.SAGEConv(WIDTH, WIDTH, aggr="max"),
    "gin": lambda: pyg.GINConv(torch.nn.Linear(WIDTH, WIDTH)),
    "graph": lambda: pyg.GraphConv(WIDTH, WIDTH),
    "gat": lambda: pyg.GATConv(WIDTH, WIDTH // HEADS, heads=HEADS, dropout=0.5),
    "gat edges": lambda: pyg.GATConv(WIDTH, WIDTH // HEADS, heads=HEADS, edge_dim=3),
    "gatv2": lambda: pyg.GATv2Conv(WIDTH, WIDTH // HEADS, heads=HEADS),
    "transformer": lambda: pyg.TransformerConv(WIDTH, WIDTH // HEADS, heads=HEADS),
}


class LargestTensor(TorchDispatchMode):
    """The number of elements of the largest tensor that any operation returned."""

    def __init__(self) -> None:
        super().__init__()
        self.elements = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        with torch._C.DisableTorchFunctionSubclass():  # what is below autograd knows no rows
            out = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(out):
            if isinstance(tensor, torch.Tensor):
                self.elements = max(self.elements, tensor.numel())
        return out


@pytest.fixture(scope="module")
def graph():
    rng = torch.Generator().manual_seed(0)
    edge_index = torch.randint(0, NUM_NODES, (2, NUM_EDGES), generator=rng)
    data = Data(x=torch.randn(NUM_NODES, WIDTH, generator=rng), edge_index=edge_index)
    data.edge_attr = torch.randn(NUM_EDGES, 3, generator=rng)
    return data


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", LAYERS)
def test_largest_tensor_is_far_below_edges_times_features(graph, name, mode):
    data = fg.open(graph, mode=mode)
    layer = fg.prepare(LAYERS[name](), data)
    edges = {"edge_attr": data.edge_attr} if name == "gat edges" else {}
    with LargestTensor() as largest:
        layer(data.x.requires_grad_(), data.edge_index, **edges).square().sum().backward()
    # Attributes of the edges and their self-loops are the user's own: 3 numbers each.
    assert largest.elements <= 3 * (NUM_EDGES + NUM_NODES)
    assert 3 * (NUM_EDGES + NUM_NODES) < NUM_EDGES * WIDTH / 10


def test_the_measure_sees_what_plain_pyg_makes(graph):
    with LargestTensor() as largest:
        LAYERS["gat"]()(graph.x, graph.edge_index)
    assert largest.elements >= NUM_EDGES * WIDTH

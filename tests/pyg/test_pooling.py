"""Readouts over the rows of all ranks are PyG's: pools and aggregation modules, of one graph and of several."""

import pytest
import torch
from torch_geometric import nn as pyg
from torch_geometric.nn import aggr

import fullgraph as fg
from tests.equivalence.graphs import NUM_FEATURES, NUM_NODES, awkward_graph
from tests.ranks import run_ranks

READOUTS = {
    "add pool": lambda: Pool(pyg.global_add_pool),
    "mean pool": lambda: Pool(pyg.global_mean_pool),
    "max pool": lambda: Pool(pyg.global_max_pool),
    "sum": aggr.SumAggregation,
    "mean": aggr.MeanAggregation,
    "max": aggr.MaxAggregation,
    "min": aggr.MinAggregation,
    "var": aggr.VarAggregation,
    "std": aggr.StdAggregation,
    "power mean": lambda: aggr.PowerMeanAggregation(p=2.0, learn=True),
    "softmax": lambda: aggr.SoftmaxAggregation(t=0.7, learn=True),
    "softmax, half its gradient": lambda: aggr.SoftmaxAggregation(semi_grad=True),
    "attention": lambda: aggr.AttentionalAggregation(
        torch.nn.Linear(NUM_FEATURES, 1), torch.nn.Linear(NUM_FEATURES, 3)
    ),
    "attention by MLP": lambda: aggr.AttentionalAggregation(pyg.MLP([NUM_FEATURES, 4, 1])),
    "several": lambda: aggr.MultiAggregation(["mean", "std", "max", "softmax"]),
    "median": aggr.MedianAggregation,
    "product": aggr.MulAggregation,
}


class Pool(torch.nn.Module):
    def __init__(self, pool):
        super().__init__()
        self.pool = pool

    def forward(self, x, index, dim_size=None):
        return self.pool(x, index, dim_size)


def graph():
    g = awkward_graph(4)
    g.x[7] = g.x[40]  # a tie
    g.graph_ids = torch.arange(NUM_NODES) * 3 // NUM_NODES
    return g


def read_out(world: fg.World | None, given, name: str) -> list[torch.Tensor]:
    """Of several graphs, with an empty one, and of one; of the in-edges of each node; and all gradients."""
    data = given if world is None else fg.open(given, world)
    torch.manual_seed(0)
    module = READOUTS[name]().double()
    for number, parameter in enumerate(module.parameters()):
        torch.nn.init.constant_(parameter, 0.5 + 0.1 * number)
    if world is not None:
        fg.prepare(module, data)
    x = data.x.clone().requires_grad_()
    sizes = [] if name == "median" else [module(x, data.graph_ids, dim_size=4)]  # PyG's median wants no empty graph
    out = torch.cat([module(x, data.graph_ids), module(x, torch.zeros_like(data.graph_ids)), *sizes])
    src, dst = data.edge_index[:, data.edge_index[1] < 65]
    by_node = module(x[src], dst, dim_size=65)
    (out.sin().sum() + by_node.cos().sum()).backward()
    return [fg.gather(t) for t in (out.detach(), by_node.detach(), x.grad, *(p.grad for p in module.parameters()))]


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    path = tmp_path_factory.mktemp("graphs") / "graph.fg"
    fg.partition(graph(), path, num_parts=4)
    return str(path)


@pytest.mark.parametrize("name", READOUTS)
def test_readout_equals_pyg(path, name):
    wanted = read_out(None, graph(), name)
    for num_ranks in (1, 4):
        for found in run_ranks(num_ranks, read_out, path, name):
            torch.testing.assert_close(found, wanted, rtol=1e-9, atol=1e-9)

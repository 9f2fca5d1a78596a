"""Dropout in a message is by edge: the same on any number of ranks, block by block and at once, and in backward."""

import pytest
import torch
import torch.nn.functional as F
from torch_geometric.nn import MessagePassing

import fullgraph as fg
from fullgraph.engine import draw_key
from fullgraph.pyg.explain import explained_layers
from fullgraph.pyg.rules import Way
from tests.equivalence.graphs import NUM_FEATURES, awkward_graph
from tests.ranks import run_ranks

WIDTH = 5


class Dropped(MessagePassing):
    """Two dropouts in a message, one of them a function, a random number per edge, and a third in `update`."""

    def __init__(self, aggr):
        super().__init__(aggr=aggr)
        self.lin, self.drop = torch.nn.Linear(2 * NUM_FEATURES, WIDTH), torch.nn.Dropout(0.3)

    def forward(self, x, edge_index):
        return self.propagate(edge_index, x=x)

    def message(self, x_i, x_j):
        out = self.drop(self.lin(torch.cat([x_i, x_j], dim=1)).relu())
        return F.dropout(out, 0.2, self.training) * torch.rand_like(out[:, :1])

    def update(self, inputs):
        return F.dropout(inputs, 0.1, self.training)


class Model(torch.nn.Module):
    def __init__(self, aggr):
        super().__init__()
        self.first, self.after = Dropped(aggr), torch.nn.Dropout(0.5)

    def forward(self, x, edge_index):
        return self.after(self.first(x, edge_index))


def step(world: fg.World, path: str, aggr: str, mode: str):
    data = fg.open(path, world, mode=mode, round_rows=6, chunk_edges=11)
    torch.manual_seed(1)
    model = Model(aggr).double()
    assert (explained_layers(model, data)[0].way is Way.BLOCKS) == (mode != "halo")
    fg.prepare(model, data)
    torch.manual_seed(4)
    x = data.x.clone().requires_grad_()
    out = model(x, data.edge_index)
    (out * torch.linspace(-1, 1, out.numel()).view(-1, WIDTH)).sum().backward()
    gradients = [p.grad for p in model.parameters()]
    return fg.gather(out.detach()), fg.gather(x.grad), gradients, draw_key()


@pytest.mark.parametrize("aggr", ["sum", "max", "softmax"])
def test_drops_by_edge(tmp_path, aggr):
    path = str(tmp_path / "graph.fg")
    fg.partition(awkward_graph(), path, num_parts=4)
    # At once, PyG's own code runs and autograd keeps what it drew.
    wanted = run_ranks(1, step, path, aggr, "halo")[0]
    for num_ranks, mode in ((1, "sar"), (2, "sar"), (4, "sar"), (3, "keep")):
        for *answer, next_key in run_ranks(num_ranks, step, path, aggr, mode):
            torch.testing.assert_close(answer, list(wanted[:3]), rtol=1e-9, atol=1e-12)
            assert next_key == wanted[3], "all ranks have drawn as often"

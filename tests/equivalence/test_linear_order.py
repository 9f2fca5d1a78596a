"""Whether a linear layer comes before or after the sum it goes with changes what travels, and nothing else."""

import pytest
import torch
from torch_geometric import nn as pyg

import fullgraph as fg
from tests.combinations import combinations
from tests.equivalence.graphs import NUM_FEATURES, awkward_graph
from tests.ranks import run_ranks

NARROW, WIDE = 3, 10
LAYERS = {
    "sage": lambda out: pyg.SAGEConv(NUM_FEATURES, out),
    "sage without bias": lambda out: pyg.SAGEConv(NUM_FEATURES, out, bias=False),
    "sage sum, normalised": lambda out: pyg.SAGEConv(NUM_FEATURES, out, aggr="sum", normalize=True),
    "sage without root": lambda out: pyg.SAGEConv(NUM_FEATURES, out, root_weight=False),
    "sage projected": lambda out: pyg.SAGEConv(NUM_FEATURES, out, project=True),
    "sage with a hook": lambda out: hooked(pyg.SAGEConv(NUM_FEATURES, out)),
    "gcn": lambda out: pyg.GCNConv(NUM_FEATURES, out),
    "gcn weighted": lambda out: pyg.GCNConv(NUM_FEATURES, out, improved=True, bias=False),
    "gcn unnormalised": lambda out: pyg.GCNConv(NUM_FEATURES, out, normalize=False),
    "graph": lambda out: pyg.GraphConv(NUM_FEATURES, out),
    "graph weighted": lambda out: pyg.GraphConv(NUM_FEATURES, out),
    "graph mean, weighted": lambda out: pyg.GraphConv(NUM_FEATURES, out, aggr="mean"),
}


def hooked(layer: pyg.SAGEConv) -> pyg.SAGEConv:
    layer.lin_l.register_forward_hook(lambda module, args, out: 2 * out)
    return layer


def build(name: str, width: int) -> torch.nn.Module:
    torch.manual_seed(3)
    layer = LAYERS[name](width).double()
    for parameter in layer.parameters():  # biases start at 0, where they would show nothing
        torch.nn.init.normal_(parameter)
    return layer


def call(layer, data, name: str):
    weights = (data.edge_weight,) if name.endswith("weighted") else ()
    return layer(data.x, data.edge_index, *weights)


def gradients(layer, data, name: str, meaning: str):
    """Outputs, and the gradients of rows, edge weights and parameters, of a weighted sum of the outputs."""
    times = 3 if meaning.endswith("third time") else 1
    if meaning == "x needs a gradient":
        data.x.requires_grad_()
        data.edge_weight.requires_grad_("graph" in name)
    for _ in range(times):
        layer.zero_grad()
        out = call(layer, data, name)
        (out * (data.x.detach()[:, :1] + 2)).sum().backward()
    grads = {"x": data.x.grad, **{key: p.grad for key, p in layer.named_parameters()}}
    return {"out": out.detach(), **{key: grad for key, grad in grads.items() if grad is not None}}


def on_a_rank(world: fg.World, path: str, mode: str, name: str, width: int, meaning: str):
    data = fg.open(path, world, mode=mode, round_rows=8)
    layer = build(name, width)
    keys = list(layer.state_dict())
    fg.prepare(layer, data)
    assert list(layer.state_dict()) == keys
    return {key: fg.gather(value) for key, value in gradients(layer, data, name, meaning).items()}


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    path = tmp_path_factory.mktemp("graphs") / "graph.fg"
    fg.partition(awkward_graph(), path, num_parts=3)
    return str(path)


@combinations(
    3,
    name=LAYERS,
    width=[NARROW, NUM_FEATURES, WIDE],
    meaning=["x needs a gradient", "x is constant", "x is constant, third time"],
    num_ranks=[1, 3],
    mode=["sar", "halo"],
)
def test_a_layer_is_the_same_in_either_order(path, name, width, meaning, num_ranks, mode):
    wanted = gradients(build(name, width), awkward_graph(), name, meaning)
    for answer in run_ranks(num_ranks, on_a_rank, path, mode, name, width, meaning):
        torch.testing.assert_close(answer, wanted, rtol=1e-10, atol=1e-10)

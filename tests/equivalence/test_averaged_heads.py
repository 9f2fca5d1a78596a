"""A layer that averages its heads is the mean of the layer that does not: outputs, gradients and draws of dropout."""

import weakref

import pytest
import torch
from torch_geometric import nn as pyg

import fullgraph as fg
from fullgraph.config import MODES
from tests.combinations import combinations
from tests.equivalence.cut import cut_once
from tests.equivalence.graphs import NUM_FEATURES, NUM_NODES, awkward_graph
from tests.ranks import run_ranks

HEADS, CHANNELS = 3, 5
SHAPE = {"in_channels": NUM_FEATURES, "out_channels": CHANNELS, "heads": HEADS, "dropout": 0.4, "bias": False}
LAYERS = {
    "gat": lambda concat: pyg.GATConv(**SHAPE, concat=concat),
    "gat, edges": lambda concat: pyg.GATConv(**SHAPE, concat=concat, edge_dim=3),
    "gatv2": lambda concat: pyg.GATv2Conv(**SHAPE, concat=concat),
    "transformer": lambda concat: pyg.TransformerConv(**SHAPE, concat=concat, root_weight=False),
}
SETTINGS = {
    "as usual": ({}, torch.float64, 1e-12),
    "projected again": ({"recompute": "layer"}, torch.float64, 1e-12),
    "narrow rows": ({"wire_dtype": "bfloat16"}, torch.float32, 1e-5),
}


def by_both(world: fg.World, path: str, mode: str, name: str, setting: str):
    """The output and the gradients, once of the layer that averages and once of the mean."""
    return [of_one(world, path, mode, name, setting, concat=concat) for concat in (False, True)]


def of_one(world: fg.World, path: str, mode: str, name: str, setting: str, *, concat: bool) -> list[torch.Tensor]:
    settings, dtype, _ = SETTINGS[setting]
    data = fg.open(path, world, mode=mode, round_rows=6, **settings)
    torch.manual_seed(3)
    weights = {key: value for key, value in LAYERS[name](False).state_dict().items() if "skip" not in key}
    layer = LAYERS[name](concat)
    layer.load_state_dict(weights, strict=False)
    fg.prepare(layer.to(dtype), data)
    leaves = [data.x.to(dtype).clone().requires_grad_()]
    leaves += [data.edge_attr.to(dtype).clone().requires_grad_()] if "edges" in name else []
    torch.manual_seed(5)
    out = layer(leaves[0], data.edge_index, *leaves[1:])
    out = out.view(-1, HEADS, CHANNELS).mean(1) if concat else out
    (out * torch.linspace(-1, 3, NUM_NODES * CHANNELS, dtype=dtype).sin().view(-1, CHANNELS)).sum().backward()
    return [fg.gather(t) for t in (out.detach(), *(t.grad for t in (*leaves, *layer.parameters()))) if t is not None]


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return cut_once(tmp_path_factory.mktemp("graphs"), awkward_graph())("metis", 4)


@combinations(name=LAYERS, setting=SETTINGS, mode=MODES, num_ranks=[1, 2, 4])
def test_the_average_is_the_mean_of_the_heads(path, name, setting, mode, num_ranks):
    tolerance = SETTINGS[setting][2]
    for averaged, wanted in run_ranks(num_ranks, by_both, path, mode, name, setting):
        assert all(want.abs().max() > 0 for want in wanted)
        torch.testing.assert_close(averaged, wanted, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", LAYERS)
def test_the_heads_are_let_go_of_in_backward_unless_it_comes_again(path, name, mode):
    data = fg.open(path, mode=mode)
    layer = fg.prepare(LAYERS[name](False).double(), data).eval()
    x = data.x.requires_grad_()
    values = [data.edge_attr] if "edges" in name else []
    out = layer(x, data.edge_index, *values)
    loss = out.square().sum()
    heads = weakref.ref(attention_of(out.grad_fn).heads)
    first, second = (torch.autograd.grad(loss, x, retain_graph=again)[0] for again in (True, True))
    assert torch.equal(first, second)
    assert heads() is not None
    assert torch.equal(torch.autograd.grad(loss, x)[0], first)
    assert heads() is None
    with pytest.raises(RuntimeError, match="backward through the graph a second time"):
        torch.autograd.grad(loss, x)


def attention_of(operation):
    """The operation among those before ``operation`` that keeps heads."""
    while not hasattr(operation, "heads"):
        operation = operation.next_functions[0][0]
    return operation


@pytest.mark.parametrize("name", LAYERS)
def test_a_gradient_that_somebody_sees_stays_as_it_is(path, name):
    data, seen = fg.open(path), {}
    layer = fg.prepare(LAYERS[name](False).double(), data)
    out = layer(data.x, data.edge_index, *([data.edge_attr] if "edges" in name else []))
    out.register_hook(lambda grad: seen.update(after=grad, before=grad.clone()))
    out.square().sum().backward()
    assert torch.equal(seen["after"], seen["before"])

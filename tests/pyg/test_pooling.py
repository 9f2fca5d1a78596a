"""Readouts over the rows of all ranks: pooling functions, aggregation modules, and what cannot be read out."""

import pytest
import torch
import torch.nn.functional as F
from torch_geometric import nn as pyg
from torch_geometric.nn import aggr

import fullgraph as fg
from fullgraph.errors import UnsupportedOperation
from tests.equivalence.graphs import NUM_FEATURES, NUM_NODES, awkward_graph
from tests.ranks import run_ranks

POOLS = {"add": pyg.global_add_pool, "mean": pyg.global_mean_pool, "max": pyg.global_max_pool}
READOUTS = {
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
}


def graph(num_graphs: int):
    g = awkward_graph(4)
    g.x[7] = g.x[40]  # a tie
    g.graph_ids = torch.arange(NUM_NODES) * num_graphs // NUM_NODES
    return g


def loss_of(out: torch.Tensor, data) -> torch.Tensor:
    target = torch.randn(out.shape, generator=torch.Generator().manual_seed(2)).double()
    everything = torch.ones(len(out), dtype=torch.bool)
    if data is None:
        return F.mse_loss(out, target, reduction="sum") / len(out)
    return fg.mean_loss(F.mse_loss, out, target, everything, data)


@pytest.fixture(scope="module")
def paths(tmp_path_factory):
    folder = tmp_path_factory.mktemp("graphs")
    for count in (1, 3):
        fg.partition(graph(count), folder / f"{count}.fg", num_parts=4)
    return {count: str(folder / f"{count}.fg") for count in (1, 3)}


def pooled_on_a_rank(world: fg.World, path: str, name: str, whole: bool):
    data = fg.open(path, world)
    x = data.x.requires_grad_()
    pool = getattr(fg, f"global_{name}_pool")
    out = pool(x, None if whole else data.graph_ids, data.edge_index)
    torch.testing.assert_close(pool(x, None if whole else data.graph_ids, data), out)
    loss = loss_of(out, data)
    loss.backward()
    return out.detach(), loss.detach(), fg.gather_rows(x.grad, data)


@pytest.mark.parametrize("whole", [True, False], ids=["no batch", "batch"])
@pytest.mark.parametrize("name", POOLS)
def test_pooling_equals_pyg(paths, name, whole):
    g = graph(3)
    x = g.x.requires_grad_()
    # PyG's maximum without a batch gives one of several equal rows the gradient; with zeros they share it.
    out = POOLS[name](x, torch.zeros_like(g.graph_ids) if whole else g.graph_ids)
    loss = loss_of(out, None)
    loss.backward()
    for num_ranks in (1, 2, 4):
        answers = run_ranks(num_ranks, pooled_on_a_rank, paths[3], name, whole)
        for got, got_loss, _ in answers:
            torch.testing.assert_close(got, out.detach(), rtol=1e-9, atol=1e-9)
            torch.testing.assert_close(got_loss, loss.detach(), rtol=1e-9, atol=1e-9)
        torch.testing.assert_close(answers[0][2], x.grad, rtol=1e-9, atol=1e-9)
    plain = getattr(fg, f"global_{name}_pool")(x, g.graph_ids, g.edge_index)
    torch.testing.assert_close(plain, POOLS[name](x, g.graph_ids), rtol=0, atol=0)


def read_out(module, g, data):
    for parameter in module.parameters():
        torch.nn.init.uniform_(parameter, 0.5, 1.5)
    x = g.x.requires_grad_()
    out = torch.cat([module(x, g.graph_ids), module(x), module(x, g.graph_ids, dim_size=4)])
    by_node = module(x[g.edge_index[0]], g.edge_index[1], dim_size=g.num_nodes)
    loss = loss_of(out, data)
    loss.backward(retain_graph=True)
    return out.detach(), loss.detach(), x.grad, by_node.detach(), [p.grad for p in module.parameters()]


def read_out_on_a_rank(world: fg.World, path: str, name: str):
    data = fg.open(path, world)
    torch.manual_seed(0)
    module = fg.convert(READOUTS[name]().double(), data)
    out, loss, grad, by_node, parameters = read_out(module, data, data)
    parameters = [world.all_reduce(p) for p in parameters]
    return out, loss, fg.gather_rows(grad, data), fg.gather_rows(by_node, data), parameters


@pytest.mark.parametrize("name", READOUTS)
def test_readout_equals_pyg_and_sums_by_node_stay_what_they_were(paths, name):
    torch.manual_seed(0)
    wanted = read_out(READOUTS[name]().double(), graph(3), None)
    for num_ranks in (1, 2, 4):
        got = run_ranks(num_ranks, read_out_on_a_rank, paths[3], name)
        torch.testing.assert_close(got[0], wanted, rtol=1e-9, atol=1e-9)
        for answer in got:
            torch.testing.assert_close(answer[:2], wanted[:2], rtol=1e-9, atol=1e-9)


def refused_on_a_rank(world: fg.World, path: str):
    data = fg.open(path, world)
    texts = []
    for module, given in (
        (aggr.MedianAggregation(), (data.x, data.graph_ids)),
        (aggr.SumAggregation(), (data.x[:3], torch.zeros(3, dtype=torch.long))),
        (aggr.MulAggregation(), (data.x,)),
    ):
        with pytest.raises(UnsupportedOperation) as raised:
            fg.convert(module, data)(*given)
        texts.append(str(raised.value))
    return texts


def test_what_cannot_be_read_out_says_so_on_every_rank(paths):
    for texts in run_ranks(2, refused_on_a_rank, paths[3]):
        assert all(text.startswith("outside of a message-passing layer, an aggregation over several") for text in texts)
        assert [text.rsplit(": ")[-1] for text in texts] == ["MedianAggregation", "SumAggregation", "MulAggregation"]


def test_an_aggregation_of_a_layer_is_left_alone(paths):
    data = fg.open(paths[1])
    model = torch.nn.ModuleDict({"conv": pyg.SAGEConv(4, 4, aggr="std"), "readout": aggr.StdAggregation()})
    fg.convert(model, data)
    assert type(model["conv"].aggr_module) is aggr.StdAggregation
    assert type(model["readout"]) is not aggr.StdAggregation
    assert repr(model["readout"]) == "StdAggregation()"

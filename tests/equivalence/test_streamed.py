"""Features that stay on disk give the outputs, losses and gradients of features in memory, whatever reads them."""

from unittest.mock import patch

import pytest
import torch
import torch.nn.functional as F
from torch_geometric import nn as pyg
from torch_geometric.nn import models

import fullgraph as fg
from fullgraph.config import MODES
from fullgraph.engine.disk import rows as streamed
from tests.combinations import combinations
from tests.equivalence.cut import cut_once
from tests.equivalence.graphs import NUM_CLASSES, NUM_FEATURES, awkward_graph
from tests.ranks import run_ranks

ROW_BYTES = NUM_FEATURES * 8
MODELS = {
    "gcn": lambda: models.GCN(NUM_FEATURES, 10, 2, NUM_CLASSES),
    "sage": lambda: models.GraphSAGE(NUM_FEATURES, 10, 2, NUM_CLASSES, norm="batch_norm"),
    "sage projected": lambda: models.GraphSAGE(NUM_FEATURES, 10, 2, NUM_CLASSES, project=True),
    "gin": lambda: models.GIN(NUM_FEATURES, 10, 2, NUM_CLASSES, train_eps=True, eps=0.3),
    "gat": lambda: models.GAT(NUM_FEATURES, 12, 2, NUM_CLASSES, heads=4),
    "gatv2": lambda: models.GAT(NUM_FEATURES, 12, 2, NUM_CLASSES, heads=4, v2=True),
    "weighted": lambda: Weighted(),
    "two hops": lambda: pyg.SGConv(NUM_FEATURES, NUM_CLASSES, K=2),
    "functions of rows": lambda: Prepared(),
    "an mlp": lambda: pyg.MLP([NUM_FEATURES, 10, NUM_CLASSES], norm=None),
}


class Weighted(torch.nn.Module):
    """Edge weights that need a gradient."""

    def __init__(self):
        super().__init__()
        self.first, self.second = pyg.GraphConv(NUM_FEATURES, 10), pyg.GraphConv(10, NUM_CLASSES)

    def forward(self, x, edge_index, edge_weight):
        return self.second(self.first(x, edge_index, edge_weight).tanh(), edge_index, edge_weight)


class Prepared(torch.nn.Module):
    """Functions of single rows before the first layer."""

    def __init__(self):
        super().__init__()
        self.conv = pyg.GCNConv(NUM_FEATURES, NUM_CLASSES)
        self.register_buffer("mean", torch.arange(NUM_FEATURES) / 10)

    def forward(self, x, edge_index):
        x = F.normalize(F.relu((x - self.mean) / 2), p=1.0, dim=-1)
        return self.conv(x / x.sum(-1, keepdim=True).clamp(min=0.5), edge_index)


def build(name: str) -> torch.nn.Module:
    torch.manual_seed(1)
    return MODELS[name]().double()


def called(model, name: str, data):
    if name == "an mlp":
        return model(data.x)
    if name == "weighted":
        data.edge_weight.requires_grad_()
        return model(data.x, data.edge_index, data.edge_weight)
    return model(data.x, data.edge_index)


def outputs_and_gradients(world: fg.World, path: str, mode: str, recompute: str, name: str):
    with patch.object(streamed, "CHUNK_BYTES", 5 * ROW_BYTES):
        data = fg.open(path, world, stream=("x",), mode=mode, round_rows=7, recompute=recompute)
        model = fg.prepare(build(name), data)
        out = called(model, name, data)
        (out * data.probe).sum().backward()
        with torch.no_grad():
            again = called(model.eval(), name, data)
    return fg.gather(out.detach()), fg.gather(again), {key: p.grad for key, p in model.named_parameters()}


@pytest.fixture(scope="module")
def expected():
    data = awkward_graph()
    answers = {}
    for name in MODELS:
        model = build(name)
        out = called(model, name, data)
        (out * data.probe).sum().backward()
        with torch.no_grad():
            again = called(model.eval(), name, data)
        answers[name] = (out.detach(), again, {key: p.grad for key, p in model.named_parameters()})
    return answers


@pytest.fixture(scope="module")
def partitioned(tmp_path_factory):
    return cut_once(tmp_path_factory.mktemp("graphs"), awkward_graph())


def assert_equal(got: torch.Tensor, wanted: torch.Tensor) -> None:
    # The gradient of a bias before a batch norm is 0 but for rounding.
    torch.testing.assert_close(got, wanted, rtol=1e-9, atol=1e-9 * max(float(wanted.abs().max()), 1e-3))


@combinations(name=MODELS, mode=MODES, num_ranks=[1, 2, 4], num_parts=[4, 5], recompute=["elementwise", "layer"])
def test_outputs_and_gradients_equal_plain_pyg(expected, partitioned, name, mode, num_ranks, num_parts, recompute):
    path = partitioned("metis", num_parts)
    (out, again, gradients), *_ = run_ranks(num_ranks, outputs_and_gradients, path, mode, recompute, name)
    wanted_out, wanted_again, wanted_gradients = expected[name]
    assert_equal(out, wanted_out)
    assert_equal(again, wanted_again)
    assert gradients.keys() == wanted_gradients.keys()
    for key, wanted in wanted_gradients.items():
        assert_equal(gradients[key], wanted)


class DroppedFirst(torch.nn.Module):
    """Dropout on the features themselves, as a function and as a module."""

    def __init__(self):
        super().__init__()
        self.dropout = torch.nn.Dropout(0.3)
        self.conv = pyg.SAGEConv(NUM_FEATURES, NUM_CLASSES)

    def forward(self, x, edge_index):
        return self.conv(self.dropout(F.dropout(x, 0.2, self.training)), edge_index)


def curve(world: fg.World, path: str, stream: tuple[str, ...], epochs: int = 4):
    with patch.object(streamed, "CHUNK_BYTES", 5 * ROW_BYTES):
        data = fg.open(path, world, stream=stream, round_rows=7)
        torch.manual_seed(1)
        model = DroppedFirst().double()
        optimizer = torch.optim.Adam(model.parameters(), lr=0.05)
        fg.prepare(model, data)
        torch.manual_seed(3)
        losses = []
        for _ in range(epochs):
            optimizer.zero_grad()
            out = model(data.x, data.edge_index)
            loss = F.cross_entropy(out[data.train_mask], data.y[data.train_mask])
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        evaluated = model.eval()(data.x, data.edge_index).detach()
    return losses, fg.gather(evaluated)


@pytest.mark.parametrize("num_ranks", [1, 2, 4])
def test_dropout_of_the_features_draws_the_masks_of_features_in_memory(partitioned, num_ranks):
    path = partitioned("metis", 4)
    wanted_losses, wanted = run_ranks(1, curve, path, ())[0]
    losses, evaluated = run_ranks(num_ranks, curve, path, ("x",))[0]
    assert losses == pytest.approx(wanted_losses, rel=1e-9)
    assert_equal(evaluated, wanted)
    assert len(set(losses)) == len(losses)

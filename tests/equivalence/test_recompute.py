"""Rows that backward makes again are the rows that forward made, to the last bit."""

import pytest
import torch
import torch.nn.functional as F
from torch.utils.checkpoint import checkpoint
from torch_geometric import nn as pyg
from torch_geometric.nn import models

import fullgraph as fg
from fullgraph.config import MODES, RECOMPUTES
from tests.combinations import combinations
from tests.equivalence.graphs import NUM_CLASSES, NUM_FEATURES, awkward_graph
from tests.ranks import run_ranks

SHAPE = (NUM_FEATURES, 12, 3, NUM_CLASSES)
SETTINGS = {"norm": "batch_norm", "dropout": 0.4}
MODELS = {
    "gcn": lambda: models.GCN(*SHAPE, **SETTINGS),
    "sage, gelu": lambda: models.GraphSAGE(*SHAPE, act="gelu", **SETTINGS),
    "sage max, jumping": lambda: models.GraphSAGE(*SHAPE, aggr="max", jk="cat", **SETTINGS),
    "gin, elu first": lambda: models.GIN(*SHAPE, act="elu", act_first=True, **SETTINGS),
    "gat": lambda: models.GAT(*SHAPE, heads=4, **SETTINGS),
    "gat, tanh, residual": lambda: models.GAT(*SHAPE, heads=4, act="tanh", residual=True, **SETTINGS),
    "gatv2, leaky relu": lambda: models.GAT(*SHAPE, heads=4, v2=True, act="leaky_relu", **SETTINGS),
    "own": lambda: OwnModel(),
    "norm used twice": lambda: NormUsedTwice(),
}


class OwnModel(torch.nn.Module):
    """Functions instead of modules, activation and dropout in place, dropout on inputs, dot-product attention."""

    def __init__(self) -> None:
        super().__init__()
        self.first = pyg.TransformerConv(NUM_FEATURES, 3, heads=4)
        self.norms = torch.nn.ModuleList([torch.nn.BatchNorm1d(12), torch.nn.BatchNorm1d(12, affine=False)])
        self.second = pyg.EdgeConv(torch.nn.Linear(24, 12), aggr="add")
        self.last = torch.nn.Linear(12, NUM_CLASSES)

    def forward(self, x: torch.Tensor, edge_index: torch.Tensor) -> torch.Tensor:
        x = self.first(F.dropout(x, 0.2, self.training), edge_index)
        x = F.relu(self.norms[0](x), inplace=True)
        x = F.dropout(x, 0.3, self.training)
        x = F.dropout(self.second(x, edge_index), 0.1, self.training, inplace=True)  # where nothing else is known of it
        x = self.norms[1](x).sigmoid()
        return self.last(x * x.relu())


class NormUsedTwice(torch.nn.Module):
    """A norm's output goes into a ReLU and past it, and is changed in place after that."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = pyg.SAGEConv(NUM_FEATURES, 12), pyg.SAGEConv(12, 12)
        self.norms = torch.nn.ModuleList([torch.nn.BatchNorm1d(12), torch.nn.BatchNorm1d(12)])
        self.last = torch.nn.Linear(12, NUM_CLASSES)

    def forward(self, x: torch.Tensor, edge_index: torch.Tensor) -> torch.Tensor:
        normed = self.norms[0](self.first(x, edge_index))
        x = self.second(F.relu(normed) + normed, edge_index)
        normed = self.norms[1](x)
        rows = torch.relu(normed)
        normed += 0.5
        return self.last(rows * F.relu(normed))


def trained(world: fg.World, path: str, mode: str, recompute: str, name: str, dtype: torch.dtype):
    data = fg.open(path, world, mode=mode, recompute=recompute)
    torch.manual_seed(4)
    model = fg.prepare(MODELS[name]().to(dtype), data)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.05)
    x, losses = data.x.to(dtype), []
    for _ in range(3):
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x, data.edge_index)[data.train_mask], data.y[data.train_mask])
        loss.backward()
        optimizer.step()
        losses.append(loss.detach())
    return losses, model.state_dict()


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    path = tmp_path_factory.mktemp("graphs") / "graph.fg"
    fg.partition(awkward_graph(), path, num_parts=3)
    return str(path)


@combinations(name=MODELS, num_ranks=[1, 3], mode=["sar", "halo"], recompute=RECOMPUTES[1:])
def test_training_is_the_same_to_the_last_bit(path, name, num_ranks, mode, recompute):
    dtype = torch.float32 if num_ranks == 1 else torch.float64
    wanted = run_ranks(num_ranks, trained, path, mode, "none", name, dtype)[0]
    losses, state = run_ranks(num_ranks, trained, path, mode, recompute, name, dtype)[0]
    assert losses == wanted[0]
    for key, value in wanted[1].items():
        assert torch.equal(state[key], value), key


class Misused(torch.nn.Module):
    def __init__(self, misuse) -> None:
        super().__init__()
        self.conv, self.norm, self.last = pyg.SAGEConv(NUM_FEATURES, 8), torch.nn.BatchNorm1d(8), torch.nn.Linear(8, 8)
        self.misuse = misuse

    def forward(self, x: torch.Tensor, edge_index: torch.Tensor) -> torch.Tensor:
        rows = self.conv(x, edge_index)
        hidden = self.norm(rows).relu()
        out = self.last(hidden)
        self.misuse(rows, hidden)
        return out


def gradients(path, misuse) -> list[torch.Tensor]:
    data = fg.open(path)
    torch.manual_seed(0)
    model = fg.prepare(Misused(misuse).double(), data)
    model(data.x, data.edge_index).square().sum().backward()
    return [p.grad for p in model.parameters()]


def test_rows_changed_in_place_are_noticed_or_do_no_harm(path):
    wanted = gradients(path, lambda rows, hidden: None)
    # What can be made again may be changed after it was used; where it is made from may not.
    for got, grad in zip(gradients(path, lambda rows, hidden: hidden.detach().zero_()), wanted, strict=True):
        assert torch.equal(got, grad)
    with pytest.raises(RuntimeError, match=r"changed in place|modified by an inplace operation"):
        gradients(path, lambda rows, hidden: rows.detach().add_(1))


def test_a_matrix_changed_before_backward_is_noticed(path):
    data = fg.open(path, recompute="layer")
    layer = fg.prepare(pyg.GATConv(NUM_FEATURES, 4, heads=2).double(), data)
    out = layer(data.x, data.edge_index)
    with torch.no_grad():
        layer.lin.weight.mul_(2)
    with pytest.raises(RuntimeError, match="rows that backward needs were changed in place"):
        out.square().sum().backward()


@pytest.mark.parametrize("recompute", RECOMPUTES)
def test_backward_twice_gives_the_gradient_twice(path, recompute):
    data = fg.open(path, recompute=recompute)
    model = fg.prepare(models.GAT(*SHAPE, heads=4, **SETTINGS).double(), data)
    loss = model(data.x, data.edge_index).square().sum()
    loss.backward(retain_graph=True)
    once = [p.grad.clone() for p in model.parameters()]
    loss.backward()
    for p, grad in zip(model.parameters(), once, strict=True):
        torch.testing.assert_close(p.grad, 2 * grad)
    with pytest.raises(RuntimeError, match=r"second time|backward through the graph"):
        loss.backward()


def test_saved_tensors_belong_to_who_asked_for_them_first(path):
    """A model inside torch.utils.checkpoint, or with its saved tensors moved elsewhere."""
    data = fg.open(path)
    torch.manual_seed(0)
    model = fg.prepare(models.GraphSAGE(*SHAPE, norm="batch_norm").double(), data)
    data.x.requires_grad_()
    wanted = torch.autograd.grad(model(data.x, data.edge_index).square().sum(), [*model.parameters()])
    with torch.autograd.graph.save_on_cpu():
        out = model(data.x, data.edge_index)
    for got, grad in zip(torch.autograd.grad(out.square().sum(), [*model.parameters()]), wanted, strict=True):
        assert torch.equal(got, grad)
    out = checkpoint(model, data.x, data.edge_index, use_reentrant=False)
    for got, grad in zip(torch.autograd.grad(out.square().sum(), [*model.parameters()]), wanted, strict=True):
        assert torch.equal(got, grad)


@pytest.mark.parametrize("mode", MODES)
def test_nothing_is_left_over(path, mode):
    data = fg.open(path, mode=mode)
    model = fg.prepare(models.GCN(*SHAPE, **SETTINGS).double(), data)
    view = model.rank_graph.view
    model(data.x, data.edge_index)
    assert view.recipes is view.entered is None
    with pytest.raises(RuntimeError):
        model(data.x[:, :2], data.edge_index)
    assert view.recipes is view.entered is None

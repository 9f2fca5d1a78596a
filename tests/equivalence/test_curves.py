"""Training with batch norm and dropout gives one loss curve, however many ranks share the graph."""

import pytest
import torch
import torch.nn.functional as F
from torch_geometric.data import Data
from torch_geometric.nn import GATConv, models

import fullgraph as fg
from fullgraph.config import MODES
from tests.equivalence.cut import cut_once
from tests.equivalence.graphs import NUM_CLASSES, NUM_FEATURES, awkward_graph
from tests.equivalence.test_law import GraphConvs
from tests.ranks import run_ranks

SHAPE = (NUM_FEATURES, 12, 3, NUM_CLASSES)
MODELS = {
    "gcn": lambda **kw: models.GCN(*SHAPE, **kw),
    "sage-mean": lambda **kw: models.GraphSAGE(*SHAPE, **kw),
    "sage-max": lambda **kw: models.GraphSAGE(*SHAPE, aggr="max", **kw),
    "gin": lambda **kw: models.GIN(*SHAPE, **kw),
    "gat": lambda **kw: models.GAT(*SHAPE, heads=4, **kw),
    "graph": lambda **kw: GraphConvs(*SHAPE, **kw),
}


class FunctionalDropout(torch.nn.Module):
    """The idiom of most PyG examples: dropout as a function, on inputs too."""

    def __init__(self) -> None:
        super().__init__()
        self.first = GATConv(NUM_FEATURES, 3, heads=4, dropout=0.6)
        self.norm = torch.nn.BatchNorm1d(12)
        self.second = GATConv(12, NUM_CLASSES, heads=2, concat=False, dropout=0.6)

    def forward(self, x: torch.Tensor, edge_index: torch.Tensor) -> torch.Tensor:
        x = F.dropout(x, p=0.5, training=self.training)
        x = F.elu(self.norm(self.first(x, edge_index)))
        return self.second(F.dropout(x, 0.5, self.training), edge_index)


def build(name: str, dropout: float) -> torch.nn.Module:
    torch.manual_seed(2)
    model = FunctionalDropout() if name == "functional" else MODELS[name](norm="batch_norm", dropout=dropout)
    for module in model.modules():
        if isinstance(module, GATConv) and dropout:
            module.dropout = 0.6
    return model.double()


def train(model: torch.nn.Module, data: Data, loss_of, optimizer) -> list[float]:
    losses = []
    for _ in range(3):
        optimizer.zero_grad()
        loss = loss_of(model(data.x, data.edge_index))
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


def trained(world: fg.World, path: str, mode: str, name: str, dropout: float):
    data = fg.open(path, world, mode=mode, prefetch=2, round_rows=5)
    model = build(name, dropout)
    model, optimizer = fg.prepare(model, torch.optim.Adam(model.parameters(), lr=0.05), data, seed=7)
    losses = train(
        model, data, lambda out: fg.mean_loss(F.cross_entropy, out, data.y, data.train_mask, data), optimizer
    )
    return losses, model.state_dict()


def assert_same_run(got, wanted) -> None:
    losses, state = got
    wanted_losses, wanted_state = wanted
    assert losses == pytest.approx(wanted_losses, rel=1e-9)
    assert state.keys() == wanted_state.keys()
    for key, value in wanted_state.items():
        torch.testing.assert_close(state[key], value, rtol=1e-7, atol=1e-8, msg=lambda text, key=key: f"{key}: {text}")


@pytest.fixture(scope="module")
def graph_file(tmp_path_factory):
    return cut_once(tmp_path_factory.mktemp("graphs"), awkward_graph())


@pytest.fixture(scope="module")
def one_rank(graph_file):
    known = {}

    def run(name: str):
        if name not in known:
            (known[name],) = run_ranks(1, trained, graph_file("contiguous", 1), "sar", name, 0.5)
        return known[name]

    return run


@pytest.mark.parametrize("num_ranks", [1, 2, 3, 4])
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", [*MODELS, "functional"])
def test_dropout_curve_is_the_same_on_any_number_of_ranks(graph_file, one_rank, name, mode, num_ranks):
    runs = run_ranks(num_ranks, trained, graph_file("metis", num_ranks), mode, name, 0.5)
    for run in runs:
        assert_same_run(run, one_rank(name))


@pytest.mark.parametrize("name", [*MODELS, "functional"])
def test_dropout_curve_does_not_depend_on_the_partition(graph_file, one_rank, name):
    run, *_ = run_ranks(3, trained, graph_file("random", 6), "sar", name, 0.5)
    assert_same_run(run, one_rank(name))


@pytest.mark.parametrize("num_ranks", [1, 3])
@pytest.mark.parametrize("name", MODELS)
def test_curve_without_dropout_is_that_of_plain_pyg(graph_file, name, num_ranks):
    data, model = awkward_graph(), build(name, 0.0)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.05)
    losses = train(model, data, lambda out: F.cross_entropy(out[data.train_mask], data.y[data.train_mask]), optimizer)
    run, *_ = run_ranks(num_ranks, trained, graph_file("metis", num_ranks), "sar", name, 0.0)
    assert_same_run(run, (losses, model.state_dict()))


def test_dropout_changes_the_curve_and_follows_the_seed(graph_file):
    path = graph_file("contiguous", 1)
    ((with_dropout, _),) = run_ranks(1, trained, path, "sar", "gcn", 0.5)
    ((without, _),) = run_ranks(1, trained, path, "sar", "gcn", 0.0)
    assert with_dropout != pytest.approx(without, rel=1e-3)

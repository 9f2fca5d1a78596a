"""Training with batch norm and dropout gives one loss curve, however many ranks share the graph."""

import pytest
import torch
import torch.nn.functional as F
from torch_geometric.data import Data
from torch_geometric.nn import GATConv, models

import fullgraph as fg
from tests.equivalence.cut import cut_once
from tests.equivalence.graphs import NUM_CLASSES, NUM_FEATURES, awkward_graph
from tests.equivalence.runs import RUNS
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


def train(model: torch.nn.Module, data: Data) -> tuple[list[float], dict[str, torch.Tensor]]:
    optimizer = torch.optim.Adam(model.parameters(), lr=0.05)
    losses = []
    for _ in range(3):
        optimizer.zero_grad()
        out = model(data.x, data.edge_index)
        loss = F.cross_entropy(out[data.train_mask], data.y[data.train_mask])
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses, model.state_dict()


def trained(world: fg.World, path: str, mode: str, name: str, dropout: float, seed: int = 7):
    data = fg.open(path, world, mode=mode, prefetch=2, round_rows=16)
    model = fg.prepare(build(name, dropout), data)
    torch.manual_seed(seed)
    return train(model, data)


def assert_same_runs(got, wanted) -> None:
    wanted_losses, wanted_state = wanted
    for losses, state in got:
        assert losses == pytest.approx(wanted_losses, rel=1e-9)
        torch.testing.assert_close(state, wanted_state, rtol=1e-7, atol=1e-8)


@pytest.fixture(scope="module")
def graph_file(tmp_path_factory):
    return cut_once(tmp_path_factory.mktemp("graphs"), awkward_graph())


NAMES = [*MODELS, "functional"]


@pytest.mark.parametrize(("number", "name"), list(enumerate(NAMES)), ids=list(NAMES))
def test_dropout_curve_is_the_same_on_any_number_of_ranks_in_any_partition(graph_file, in_turn, number, name):
    (wanted,) = run_ranks(1, trained, graph_file("contiguous", 1), "sar", name, 0.5)
    for num_ranks, mode, cut in in_turn(number, RUNS):
        assert_same_runs(run_ranks(num_ranks, trained, graph_file(*cut), mode, name, 0.5), wanted)


@pytest.mark.parametrize("name", MODELS)
def test_curve_without_dropout_is_that_of_plain_pyg(graph_file, name):
    wanted = train(build(name, 0.0), awkward_graph())
    for num_ranks in (1, 3):
        assert_same_runs(run_ranks(num_ranks, trained, graph_file("metis", num_ranks), "sar", name, 0.0), wanted)


def test_dropout_changes_the_curve_and_follows_the_seed(graph_file):
    path = graph_file("contiguous", 1)
    curves = [run_ranks(1, trained, path, "sar", "gcn", *how)[0][0] for how in ((0.5,), (0.0,), (0.5, 8))]
    assert curves[0] != pytest.approx(curves[1], rel=1e-3)
    assert curves[0] != pytest.approx(curves[2], rel=1e-3)

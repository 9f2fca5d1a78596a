"""``fullgraph.check`` agrees where a program is exact, and says where one is not."""

import pytest
import torch
import torch.nn.functional as F
from torch_geometric.nn import GraphConv, models

import fullgraph as fg
from fullgraph.errors import InputError
from tests.equivalence.cut import cut_once
from tests.equivalence.graphs import NUM_CLASSES, NUM_FEATURES, awkward_graph
from tests.ranks import run_ranks


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return cut_once(tmp_path_factory.mktemp("graphs"), awkward_graph())("metis", 3)


def gat() -> torch.nn.Module:
    return models.GAT(NUM_FEATURES, 8, 2, NUM_CLASSES, heads=2, norm="batch_norm").double()


class Table(torch.nn.Module):
    def __init__(self, num_nodes: int):
        super().__init__()
        self.table = torch.nn.Embedding(num_nodes, 4)
        self.conv = GraphConv(4, NUM_CLASSES)
        self.unused = torch.nn.Linear(1, 1)

    def forward(self, x, edge_index):
        return self.conv(self.table.weight, edge_index)


def loss_of(model, data):
    return F.cross_entropy(model(data.x, data.edge_index)[data.train_mask], data.y[data.train_mask])


def with_outputs(model, data):
    out = model(data.x, data.edge_index)
    return {"out": out, "loss": F.cross_entropy(out, data.y), "count": data.train_mask.sum(), "name": "no tensor"}


def dropped(model, data):
    return F.cross_entropy(F.dropout(model(data.x, data.edge_index), 0.5), data.y)


def unknown(model, data):
    return [model(data.x, data.edge_index).sum(), torch.multinomial(data.x.exp(), 2)]


def checked(world: fg.World, path: str, step, prepares: bool = False, table: bool = False):
    data = fg.open(path, world)
    torch.manual_seed(0)
    model = Table(data.num_nodes).double() if table else gat()
    if prepares:
        fg.prepare(model, data)
    before = {key: fg.gather(value.detach()).clone() for key, value in model.state_dict().items()}
    found = fg.check(model, data, step)
    assert all(p.grad is None for p in model.parameters())
    assert all(torch.equal(fg.gather(value.detach()), before[key]) for key, value in model.state_dict().items())
    return found, str(found)


@pytest.mark.parametrize("num_ranks", [1, 3])
@pytest.mark.parametrize("prepares", [False, True])
def test_what_is_exact_agrees(path, num_ranks, prepares):
    for step, more in ((loss_of, ["loss"]), (with_outputs, ["out", "loss", "count"])):
        for found, text in run_ranks(num_ranks, checked, path, step, prepares):
            assert found.agrees, text
            names = [*more, *(f"gradient of {name}" for name, _ in gat().named_parameters())]
            assert [(c.run, c.name) for c in found.compared] == [(r, n) for r in ("ranks", "in pieces") for n in names]
            assert "DIFFERS" not in text
            assert f"ranks: {more[0]}: agrees (" in text


@pytest.mark.parametrize("num_ranks", [1, 3])
def test_a_table_with_a_row_per_node_agrees(path, num_ranks):
    for found, text in run_ranks(num_ranks, checked, path, loss_of, False, True):
        assert found.agrees, text
        assert "gradient of table.weight" in text
        assert "unused" not in text


@pytest.mark.parametrize("num_ranks", [1, 3])
def test_draws_differ_from_plain_pyg(path, num_ranks):
    for found, text in run_ranks(num_ranks, checked, path, dropped):
        assert not found.agrees
        assert not found.refused
        assert "ranks: loss: DIFFERS (" in text
        assert "in pieces: loss: DIFFERS (" in text


def test_what_is_refused_is_said(path):
    for found, text in run_ranks(2, checked, path, unknown):
        assert not found.agrees
        assert not found.compared
        assert [run for run, _ in found.refused] == ["ranks", "in pieces"]
        assert text.startswith("ranks: refused: multinomial is not known")


def test_the_data_must_be_opened():
    with pytest.raises(InputError, match=r"^data must come from fullgraph.open"):
        fg.check(gat(), awkward_graph(), loss_of)

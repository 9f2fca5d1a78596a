"""A pruned run is the unpruned run, with fewer rows: outputs, losses and gradients are plain PyG's."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torch_geometric import nn as pyg
from torch_geometric.data import Data
from torch_geometric.nn import models

import fullgraph as fg
from fullgraph.config import MODES
from tests.combinations import combinations
from tests.equivalence.cut import cut_once
from tests.equivalence.test_law import GraphConvs
from tests.ranks import run_ranks

NUM_NODES, F_IN, F_OUT, LAYERS = 120, 6, 4, 3
SHAPE = (F_IN, 8, LAYERS, F_OUT)
LABELLED = [3, 50, 51, 119]


SPARSE, DENSE = 220, 1500


def graph_of(num_drawn: int = SPARSE) -> Data:
    """120 nodes, self-loops and repeated edges; node 119 has no edge at all.

    Of the four labelled nodes the sparse graph, with two in-edges per node on average, reaches a few others; the dense
    one nearly all in two steps.
    """
    rng = torch.Generator().manual_seed(11)
    edge_index = torch.cat(
        [torch.randint(0, 118, (2, num_drawn), generator=rng), torch.tensor([[3, 3, 7, 7, 118], [3, 3, 50, 50, 51]])],
        dim=1,
    )
    num_edges = edge_index.size(1)
    mask = torch.zeros(NUM_NODES, dtype=torch.bool)
    mask[LABELLED] = True
    return Data(
        x=torch.randn(NUM_NODES, F_IN, generator=rng, dtype=torch.float64),
        edge_index=edge_index,
        edge_weight=torch.rand(num_edges, generator=rng, dtype=torch.float64) + 0.1,
        edge_attr=torch.randn(num_edges, 3, generator=rng, dtype=torch.float64),
        y=torch.randint(0, F_OUT, (NUM_NODES,), generator=rng),
        train_mask=mask,
        edge_ids=torch.arange(num_edges),
    )


class Stack(torch.nn.Module):
    """Three layers, each given the same edges; ``skip`` says what is added to or kept of earlier ones."""

    def __init__(self, layer: Callable[[int, int], torch.nn.Module], skip: str = "none"):
        super().__init__()
        self.convs = torch.nn.ModuleList(layer(a, b) for a, b in ((F_IN, F_IN), (F_IN, F_IN), (F_IN, F_IN)))
        self.last = torch.nn.Linear(F_IN * (4 if skip == "cat" else 1), F_OUT)
        self.skip = skip

    def forward(self, x: Tensor, edge_index: Tensor, **values: Any) -> Tensor:
        rows = [x]
        for conv in self.convs:
            h = conv(rows[-1], edge_index, **values).tanh()
            rows.append(rows[-1] + h if self.skip == "add" else h)
        return self.last(torch.cat(rows, dim=1) if self.skip == "cat" else rows[-1])


def twice_normalised(in_channels: int, out_channels: int) -> torch.nn.Module:
    middle = torch.nn.Linear(in_channels, 5), torch.nn.Tanh(), torch.nn.Linear(5, out_channels)
    return pyg.GINConv(torch.nn.Sequential(*middle), train_eps=True)


@dataclass(frozen=True)
class Case:
    """A model, and which values of edges it is given."""

    build: Callable[[], torch.nn.Module]
    values: tuple[str, ...] = ()


CASES = {
    "gcn": Case(lambda: models.GCN(*SHAPE)),
    "sage": Case(lambda: models.GraphSAGE(*SHAPE)),
    "gin": Case(lambda: models.GIN(*SHAPE)),
    "gat": Case(lambda: models.GAT(*SHAPE, heads=2)),
    "gatv2": Case(lambda: models.GAT(*SHAPE, heads=2, v2=True)),
    "transformer": Case(lambda: Stack(lambda a, b: pyg.TransformerConv(a, b // 2, heads=2, beta=True))),
    "gcn, weighted": Case(lambda: models.GCN(*SHAPE), ("edge_weight",)),
    "gcn, not normalised": Case(lambda: models.GCN(*SHAPE, normalize=False), ("edge_weight",)),
    "graph, weighted": Case(lambda: GraphConvs(*SHAPE), ("edge_weight",)),
    "sage, max": Case(lambda: models.GraphSAGE(*SHAPE, aggr="max", project=True)),
    "sage, median": Case(lambda: models.GraphSAGE(*SHAPE, aggr="median")),
    "gin, trained eps": Case(lambda: Stack(twice_normalised)),
    "gat, attributes": Case(
        lambda: Stack(lambda a, b: pyg.GATConv(a, b, heads=2, concat=False, edge_dim=3, residual=True)),
        ("edge_attr",),
    ),
    "gatv2, attributes": Case(
        lambda: Stack(lambda a, b: pyg.GATv2Conv(a, b, edge_dim=3, add_self_loops=False)), ("edge_attr",)
    ),
    "gatv2, attributes and loops": Case(lambda: Stack(lambda a, b: pyg.GATv2Conv(a, b, edge_dim=3)), ("edge_attr",)),
    "transformer, attributes": Case(lambda: Stack(lambda a, b: pyg.TransformerConv(a, b, edge_dim=3)), ("edge_attr",)),
    "residual": Case(lambda: Stack(lambda a, b: pyg.SAGEConv(a, b), skip="add")),
    "all layers side by side": Case(lambda: Stack(lambda a, b: pyg.GCNConv(a, b), skip="cat")),
    "jumping knowledge": Case(lambda: models.GraphSAGE(*SHAPE, jk="max")),
    "jumping, lstm": Case(lambda: models.GIN(*SHAPE, jk="lstm")),
}
MAIN = ("gcn", "sage", "gin", "gat", "gatv2", "transformer")


def build(name: str) -> torch.nn.Module:
    torch.manual_seed(5)
    return CASES[name].build().double()


@pytest.fixture(scope="module")
def graph_file(tmp_path_factory):
    return cut_once(tmp_path_factory.mktemp("graphs"), graph_of(SPARSE))


@pytest.fixture(scope="module")
def dense_file(tmp_path_factory):
    return cut_once(tmp_path_factory.mktemp("graphs"), graph_of(DENSE))


@dataclass(frozen=True)
class Answer:
    """Of the labelled nodes the outputs, their loss, and all gradients; of nodes by id, of edges in their order."""

    out: dict[int, Tensor]
    loss: float
    parameters: dict[str, Tensor]
    x: dict[int, Tensor]
    values: dict[str, Tensor]


def by_id(rows: Tensor, ids: Tensor) -> dict[int, Tensor]:
    return dict(zip(fg.gather(ids).tolist(), fg.gather(rows), strict=True))


def pruned_answer(world: fg.World, path: str, mode: str, name: str) -> Answer:
    data = fg.open(path, world, mode=mode, round_rows=5, chunk_edges=20)
    case, model = CASES[name], build(name)
    pruned = fg.prune(data, data.train_mask, LAYERS)
    fg.prepare(model, pruned)
    pruned.x.requires_grad_()
    values = {key: pruned[key].requires_grad_() for key in case.values}
    out = model(pruned.x, pruned.edge_index, **values)
    loss = F.cross_entropy(out, pruned.y)
    loss.backward()
    return Answer(
        by_id(out.detach(), pruned.output_rows),
        loss.item(),
        {key: p.grad for key, p in model.named_parameters()},
        by_id(pruned.x.grad, pruned.input_rows),
        {key: fg.gather(value.grad) for key, value in values.items()},
    )


@pytest.fixture(scope="module")
def plain():
    known = {}

    def run(name: str, num_drawn: int = SPARSE) -> Answer:
        if (name, num_drawn) not in known:
            known[name, num_drawn] = plain_answer(name, num_drawn)
        return known[name, num_drawn]

    return run


def plain_answer(name: str, num_drawn: int) -> Answer:
    data, model, case = graph_of(num_drawn), build(name), CASES[name]
    data.x.requires_grad_()
    values = {key: data[key].requires_grad_() for key in case.values}
    out = model(data.x, data.edge_index, **values)
    loss = F.cross_entropy(out[data.train_mask], data.y[data.train_mask])
    loss.backward()
    return Answer(
        {i: out[i].detach() for i in LABELLED},
        loss.item(),
        {key: p.grad for key, p in model.named_parameters()},
        dict(enumerate(data.x.grad)),
        {key: value.grad for key, value in values.items()},
    )


def assert_near(got: Tensor, wanted: Tensor) -> None:
    # With few in-edges some gradients are 0 but for rounding.
    torch.testing.assert_close(got, wanted, rtol=1e-9, atol=1e-14)


def check(answers: list[Answer], wanted: Answer, *, reads_all: bool = False) -> None:
    for answer in answers:
        assert sorted(answer.out) == LABELLED
        assert len(answer.x) == NUM_NODES if reads_all else len(answer.x) < NUM_NODES / 2
        assert answer.loss == pytest.approx(wanted.loss, rel=1e-12)
        for i, row in answer.out.items():
            assert_near(row, wanted.out[i])
        for key, grad in wanted.parameters.items():
            assert_near(answer.parameters[key], grad)
        for key, grad in wanted.values.items():
            assert_near(answer.values[key], grad)
        for i, grad in wanted.x.items():
            assert i in answer.x or not grad.any()
        for i, grad in answer.x.items():
            assert_near(grad, wanted.x[i])


@combinations(name=MAIN, mode=MODES, num_ranks=[1, 2, 4], method=["metis", "random"])
def test_outputs_loss_and_gradients_equal_plain_pyg(graph_file, plain, name, mode, num_ranks, method):
    check(run_ranks(num_ranks, pruned_answer, graph_file(method, num_ranks), mode, name), plain(name))


@combinations(name=[name for name in CASES if name not in MAIN], mode=MODES, num_ranks=[1, 3])
def test_weights_attributes_skips_and_other_aggregations(graph_file, plain, name, mode, num_ranks):
    check(run_ranks(num_ranks, pruned_answer, graph_file("metis", num_ranks), mode, name), plain(name))


@combinations(name=[*MAIN, "gcn, weighted", "gat, attributes", "all layers side by side"], mode=MODES, num_ranks=[1, 3])
def test_a_graph_of_which_nearly_all_is_reached(dense_file, plain, name, mode, num_ranks):
    answers = run_ranks(num_ranks, pruned_answer, dense_file("random", num_ranks), mode, name)
    check(answers, plain(name, DENSE), reads_all=True)


def structure(world: fg.World, path: str):
    """Of a pruned graph: rows by level, whether the graph's own walks were built, and whether x is the graph's."""
    data = fg.open(path, world)
    pruned = fg.prune(data, data.train_mask, LAYERS)
    model = models.GraphSAGE(*SHAPE).double()
    fg.prepare(model, pruned)
    model(pruned.x, pruned.edge_index).sum().backward()
    shares_walk = "plan" in data.edge_index.walked.__dict__
    return pruned.rows_by_level, shares_walk, pruned.x.data_ptr() == data.x.data_ptr()


def test_layers_that_compute_all_rows_share_the_walk_of_the_graph(graph_file, dense_file):
    for rows, shares_walk, shares_x in run_ranks(2, structure, dense_file("random", 2)):
        assert rows[:2] == (NUM_NODES, NUM_NODES)
        assert len(LABELLED) < rows[2] < NUM_NODES / 2
        assert (shares_walk, shares_x) == (True, True)
    for rows, shares_walk, shares_x in run_ranks(2, structure, graph_file("random", 2)):
        assert rows[0] < NUM_NODES / 2
        assert (shares_walk, shares_x) == (False, False)


def whole_rows(world: fg.World, path: str):
    """A table of rows that the model holds, of all nodes, and a weight for each of all nodes."""
    data = fg.open(path, world, round_rows=5)
    model = Embedded(data.x.size(0)).double()
    with torch.no_grad():
        model.table.copy_(data.x)
    fg.prepare(model, data)
    pruned = fg.prune(data, data.train_mask, LAYERS)
    found = []
    for edge_index, y, mask in ((data.edge_index, data.y, data.train_mask), (pruned.edge_index, pruned.y, pruned.mask)):
        model.zero_grad()
        out = model(edge_index)
        losses = F.cross_entropy(out, y, reduction="none") * data.x[:, 0].exp()
        loss = losses[mask].mean()
        loss.backward()
        found.append((loss.item(), {key: fg.gather(p.grad) for key, p in model.named_parameters()}))
    return found


class Embedded(torch.nn.Module):
    """Rows of its own, at first and in the end."""

    def __init__(self, num_nodes: int) -> None:
        super().__init__()
        torch.manual_seed(4)
        self.table = torch.nn.Parameter(torch.zeros(num_nodes, F_IN))
        self.convs = torch.nn.ModuleList(pyg.SAGEConv(F_IN, F_IN) for _ in range(LAYERS))
        self.last = torch.nn.Linear(2 * F_IN, F_OUT)

    def forward(self, edge_index: Tensor) -> Tensor:
        x = self.table
        for conv in self.convs:
            x = conv(x, edge_index).tanh()
        return self.last(torch.cat([x, self.table], dim=1))


@pytest.mark.parametrize("num_ranks", [1, 3])
def test_rows_of_all_nodes_meet_those_that_are_computed(graph_file, num_ranks):
    for whole, pruned in run_ranks(num_ranks, whole_rows, graph_file("metis", num_ranks)):
        assert pruned[0] == pytest.approx(whole[0], rel=1e-12)
        for key, grad in whole[1].items():
            assert_near(pruned[1][key], grad)


class Dropped(torch.nn.Module):
    """Dropout as a module, as a function, of attention weights and within a layer."""

    def __init__(self) -> None:
        super().__init__()
        self.first = pyg.GATConv(F_IN, 4, heads=2, dropout=0.6)
        middle = torch.nn.Linear(8, 8), torch.nn.ReLU(), torch.nn.Dropout(0.3), torch.nn.Linear(8, 8)
        self.second = pyg.GINConv(torch.nn.Sequential(*middle))
        self.third = pyg.GCNConv(8, F_OUT)
        self.drop = torch.nn.Dropout(0.5)

    def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
        x = F.dropout(x, 0.2, self.training)
        x = self.drop(F.elu(self.first(x, edge_index)))
        x = F.dropout(self.second(x, edge_index).relu(), 0.5, self.training)
        return self.third(x + 0.1 * torch.rand_like(x), edge_index)


def losses(world: fg.World, path: str, mode: str, drops: bool, prunes: bool) -> list[float]:
    data = fg.open(path, world, mode=mode, round_rows=5)
    torch.manual_seed(6)
    model = Dropped().double().train(drops)
    fg.prepare(model, data)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.05)
    torch.manual_seed(3)
    pruned = fg.prune(data, data.train_mask, LAYERS)
    found = []
    for _ in range(3):
        optimizer.zero_grad()
        if prunes:
            loss = F.cross_entropy(model(pruned.x, pruned.edge_index), pruned.y)
        else:
            loss = F.cross_entropy(model(data.x, data.edge_index)[data.train_mask], data.y[data.train_mask])
        loss.backward()
        optimizer.step()
        found.append(loss.item())
    return found


@pytest.fixture(scope="module")
def whole_losses(graph_file):
    return {drops: run_ranks(1, losses, graph_file("metis", 1), "sar", drops, False)[0] for drops in (True, False)}


@combinations(drops=[True, False], mode=MODES, num_ranks=[1, 2, 4])
def test_losses_are_those_of_the_unpruned_run(graph_file, whole_losses, drops, mode, num_ranks):
    for found in run_ranks(num_ranks, losses, graph_file("metis", num_ranks), mode, drops, True):
        assert found == pytest.approx(whole_losses[drops], rel=1e-9)


class Normed(torch.nn.Module):
    """Two layers and a norm between them."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.norm, self.second = (
            pyg.GCNConv(F_IN, 5),
            torch.nn.BatchNorm1d(5, momentum=0.5),
            pyg.GCNConv(5, F_OUT),
        )

    def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
        return self.second(self.norm(self.first(x, edge_index)).relu(), edge_index)


def normed() -> Normed:
    torch.manual_seed(8)
    return Normed().double()


def with_norm(world: fg.World, path: str, mode: str):
    data, model = fg.open(path, world, mode=mode, round_rows=5), normed()
    pruned = fg.prune(data, data.train_mask, 2, batch_norm="computed")
    fg.prepare(model, pruned)
    loss = F.cross_entropy(model(pruned.x, pruned.edge_index), pruned.y)
    loss.backward()
    return loss.item(), model.norm.running_mean, model.first.lin.weight.grad, pruned.rows_by_level


@pytest.mark.parametrize("num_ranks", [1, 2, 4])
@pytest.mark.parametrize("mode", MODES)
def test_computed_statistics_are_those_of_the_rows_that_the_layer_computed(graph_file, mode, num_ranks):
    data, model = graph_of(), normed()
    is_computed = data.train_mask.clone()
    is_computed[data.edge_index[0][data.train_mask[data.edge_index[1]]]] = True
    rows = model.first(data.x, data.edge_index)
    hidden = torch.zeros_like(rows).index_put((is_computed,), model.norm(rows[is_computed]).relu())
    out = model.second(hidden, data.edge_index)
    loss = F.cross_entropy(out[data.train_mask], data.y[data.train_mask])
    loss.backward()
    for got in run_ranks(num_ranks, with_norm, graph_file("metis", num_ranks), mode):
        assert got[0] == pytest.approx(loss.item(), rel=1e-12)
        assert_near(got[1], model.norm.running_mean)
        assert_near(got[2], model.first.lin.weight.grad)
        assert got[3][1:] == (int(is_computed.sum()), len(LABELLED))


def work(world: fg.World, path: str, prunes: bool) -> tuple[tuple[int, ...], tuple[int, ...], int]:
    """Rows that each layer computes, those by level, and bytes of rows that this rank sent in a step."""
    data = fg.open(path, world)
    torch.manual_seed(1)
    model = models.GraphSAGE(*SHAPE).double()
    computed: list[int] = []
    for conv in model.convs:
        conv.register_forward_hook(lambda module, given, out: computed.append(len(out)))
    graph = fg.prune(data, data.train_mask, LAYERS) if prunes else data
    fg.prepare(model, graph)
    before = world.traffic.rows_bytes
    model(graph.x, graph.edge_index).sum().backward()
    return tuple(computed), getattr(graph, "rows_by_level", ()), world.traffic.rows_bytes - before


def test_every_layer_computes_its_level_and_sends_less(graph_file):
    path = graph_file("random", 4)
    pruned, whole = run_ranks(4, work, path, True), run_ranks(4, work, path, False)
    computed, rows_by_level, _ = pruned[0]
    assert computed == rows_by_level[1:]
    assert computed[-1] == len(LABELLED) < computed[1] < computed[0] < rows_by_level[0] < NUM_NODES
    assert sum(sent for _, _, sent in pruned) < sum(sent for _, _, sent in whole) / 2

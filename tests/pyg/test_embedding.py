"""Learned rows of nodes without features: kept by their owners, the same on any number of ranks, equal to PyG's."""

import pytest
import torch
import torch.nn.functional as F
from torch_geometric import nn as pyg
from torch_geometric.data import HeteroData

import fullgraph as fg
from fullgraph.errors import FullgraphError, GraphMismatch, InputError
from tests.equivalence.hetero import HAS, IN, NUM_OUT, SIZES, WRITES, WRITTEN, awkward_hetero
from tests.ranks import run_ranks

DIM = 5


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    path = tmp_path_factory.mktemp("graphs") / "graph.fg"
    fg.partition(awkward_hetero(), path, num_parts=4)
    return str(path)


class Featureless(torch.nn.Module):
    """Authors and venues have learned rows, given by ``make(node type)``."""

    def __init__(self, make):
        super().__init__()
        self.author, self.venue = make("author"), make("venue")
        self.first = pyg.HeteroConv(
            {
                WRITES: pyg.SAGEConv((DIM, 6), 8),
                HAS: pyg.GATConv((DIM, 6), 4, heads=2, add_self_loops=False),
                WRITTEN: pyg.SAGEConv((6, DIM), 8, aggr="max"),
                IN: pyg.SAGEConv((6, DIM), 8),
            }
        )
        self.second = pyg.SAGEConv((8, 8), NUM_OUT)

    def forward(self, x_dict, edge_index_dict):
        x_dict = {**x_dict, "author": self.author(), "venue": self.venue()}
        hidden = {kind: rows.tanh() for kind, rows in self.first(x_dict, edge_index_dict).items()}
        return self.second((hidden["author"], hidden["paper"]), edge_index_dict[WRITES])


class Whole(torch.nn.Module):
    """The same rows on one process."""

    def __init__(self, rows):
        super().__init__()
        self.weight = torch.nn.Parameter(rows.clone())

    def forward(self):
        return self.weight


def trained(model, data, optimizer, loss_of, clip):
    losses = []
    for _ in range(4):
        optimizer.zero_grad()
        loss = loss_of(model(data.x_dict, data.edge_index_dict))
        loss.backward()
        losses.append((loss.item(), clip(optimizer)))
        optimizer.step()
    return losses


def on_a_rank(world: fg.World, path: str):
    data = fg.open(path, world, round_rows=4)
    torch.manual_seed(1 + world.rank)
    model = Featureless(lambda kind: fg.NodeEmbedding(data, kind, DIM)).double()
    first = {kind: fg.gather_rows(getattr(model, kind).weight, data, kind) for kind in ("author", "venue")}
    optimizer = torch.optim.Adam(model.parameters(), lr=0.05, weight_decay=0.01)
    fg.prepare(model, optimizer, data)
    start = {name: t.clone() for name, t in model.state_dict().items() if name not in ("author.weight", "venue.weight")}
    papers = data["paper"]
    before = world.traffic.reduced_bytes
    losses = trained(
        model,
        data,
        optimizer,
        lambda out: fg.mean_loss(F.cross_entropy, out, papers.y, papers.train_mask, data),
        lambda optimizer: fg.clip_gradients(optimizer, 0.05),
    )
    reduced = world.traffic.reduced_bytes - before
    last = {kind: fg.gather_rows(getattr(model, kind).weight, data, kind) for kind in ("author", "venue")}
    moments = optimizer.state[model.author.weight]["exp_avg"]
    assert moments.shape == model.author.weight.shape == (data["author"].num_nodes, DIM)
    return first, start, losses, last, fg.gather_rows(moments, data, "author"), reduced


@pytest.fixture(scope="module")
def alone(path):
    (answer,) = run_ranks(1, on_a_rank, path)
    return answer


def test_one_rank_is_plain_pyg(alone):
    first, start, losses, last, moments, _ = alone
    data = awkward_hetero()
    model = Featureless(lambda kind: Whole(first[kind])).double()
    model.load_state_dict(start, strict=False)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.05, weight_decay=0.01)
    mask = data["paper"].train_mask
    wanted = trained(
        model,
        data,
        optimizer,
        lambda out: F.cross_entropy(out[mask], data["paper"].y[mask]),
        lambda optimizer: float(torch.nn.utils.clip_grad_norm_(model.parameters(), 0.05)),
    )
    assert [x for pair in losses for x in pair] == pytest.approx([x for pair in wanted for x in pair], rel=1e-9)
    torch.testing.assert_close(last["author"], model.author.weight.detach(), rtol=1e-9, atol=1e-10)
    torch.testing.assert_close(moments, optimizer.state[model.author.weight]["exp_avg"], rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("num_ranks", [2, 3, 4])
def test_curve_and_rows_are_the_same_on_any_number_of_ranks(path, alone, num_ranks):
    answers = run_ranks(num_ranks, on_a_rank, path)
    for first, start, losses, last, moments, reduced in answers:
        # Weights other than these rows start from rank 0's, which are those of the run on one rank.
        for name, value in alone[1].items():
            assert torch.equal(start[name], value)
        assert [x for pair in losses for x in pair] == pytest.approx([x for pair in alone[2] for x in pair], rel=1e-9)
        num_shared = sum(t.numel() for t in start.values())
        assert reduced < 4 * 8 * (num_shared + 60), "rows of nodes are not summed over ranks"
        if first["author"] is not None:
            for kind in ("author", "venue"):
                assert torch.equal(first[kind], alone[0][kind])
                torch.testing.assert_close(last[kind], alone[3][kind], rtol=1e-9, atol=1e-10)
            torch.testing.assert_close(moments, alone[4], rtol=1e-9, atol=1e-10)


def rows_loaded(world: fg.World, path: str):
    data = fg.open(path, world)
    embedding = fg.NodeEmbedding(data, "author", DIM, seed=3)
    first = fg.gather_rows(embedding.weight, data, "author")
    embedding.load_rows(torch.arange(SIZES["author"] * DIM).view(-1, DIM) / 7)
    loaded, text = fg.gather_rows(embedding(), data, "author"), repr(embedding)
    told = []
    for attempt in (
        lambda: embedding.load_rows(torch.zeros(3, DIM)),
        lambda: fg.NodeEmbedding(data, "writer", DIM),
        lambda: fg.NodeEmbedding(data, None, DIM),
        lambda: fg.NodeEmbedding(data, "author", 0),
        lambda: fg.NodeEmbedding(data, "author", DIM, seed=world.rank),
        lambda: fg.clip_gradients(torch.optim.SGD(embedding.parameters()), 1.0),
        lambda: fg.clip_gradients(torch.optim.SGD(embedding.parameters()), 0.0),
    ):
        try:
            attempt()
        except FullgraphError as error:
            told.append((type(error), str(error)))
    return first, loaded, text, told


def test_first_rows_are_normal_with_variance_one_over_dim(tmp_path):
    data = HeteroData()
    data["many"].num_nodes = 20_000
    data["many", "to", "many"].edge_index = torch.zeros(2, 0, dtype=torch.int64)
    fg.partition(data, tmp_path / "many.fg", num_parts=1)
    rows = fg.NodeEmbedding(fg.open(tmp_path / "many.fg"), None, 4).weight.detach() * 2
    torch.testing.assert_close(rows.mean(0), torch.zeros(4), atol=0.03, rtol=0)
    torch.testing.assert_close(rows.T.cov(), torch.eye(4), atol=0.04, rtol=0)
    torch.testing.assert_close((rows**4).mean(0), torch.full((4,), 3.0), atol=0.3, rtol=0)


def test_rows_are_loaded_and_what_is_wrong_is_told(path):
    (first, loaded, text, told), (*_, told_too) = run_ranks(2, rows_loaded, path)
    assert torch.equal(loaded, torch.arange(SIZES["author"] * DIM).view(-1, DIM) / 7)
    assert text == "NodeEmbedding(author, 24, 5)"
    assert told == told_too
    assert told[:5] == [
        (InputError, "load_rows needs a row for each node of the whole graph, [24, 5]: [3, 5]"),
        (InputError, "node_type must be one of paper, author, venue, idle: 'writer'"),
        (InputError, "node_type must be one of paper, author, venue, idle: None"),
        (InputError, "an embedding needs at least 1 column: 0"),
        (
            GraphMismatch,
            "all ranks must use the same embedding; rank 0 has ('author', 5, 0) but rank 1 has: ('author', 5, 1)",
        ),
    ]
    assert told[5:] == [
        (InputError, "prepare the optimizer with fullgraph.prepare first: SGD"),
        (InputError, "max_norm must be above 0: 0.0"),
    ]
    data = fg.open(path)
    other = fg.gather_rows(fg.NodeEmbedding(data, "author", DIM).weight, data, "author")
    papers = fg.gather_rows(fg.NodeEmbedding(data, "paper", DIM, seed=3).weight, data, "paper")
    assert not torch.isclose(first, other).any()
    assert not torch.isclose(first, papers[: len(first)]).any()

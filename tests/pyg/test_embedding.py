"""Tables with a row per node: each rank has its nodes' rows and moments, and all is as with one process."""

import pytest
import torch
import torch.nn.functional as F
from torch_geometric import nn as pyg

import fullgraph as fg
from fullgraph.rows import Rows, local
from tests.equivalence.cut import cut_once
from tests.equivalence.hetero import HAS, IN, NUM_OUT, SIZES, WRITES, WRITTEN, awkward_hetero
from tests.ranks import run_ranks

DIM, LEARNED = 5, ("author", "venue")


class Featureless(torch.nn.Module):
    """Authors have an embedding, venues a parameter."""

    def __init__(self, data):
        super().__init__()
        self.author = torch.nn.Embedding(data["author"].num_nodes, DIM)
        self.venue = torch.nn.Parameter(torch.randn(data["venue"].num_nodes, DIM))
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
        x_dict = {**x_dict, "author": self.author.weight, "venue": self.venue}
        hidden = {kind: rows.tanh() for kind, rows in self.first(x_dict, edge_index_dict).items()}
        return self.second((hidden["author"], hidden["paper"]), edge_index_dict[WRITES])


def fixed(model: torch.nn.Module) -> None:
    """The same weights for tables that were drawn by node and for those that were not."""
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.linspace(-1, 2, parameter.numel()).sin().view(parameter.shape))


def trained(data, model, clip=0.05):
    optimizer = torch.optim.Adam(model.parameters(), lr=0.05, weight_decay=0.01)
    papers, losses = data["paper"], []
    for _ in range(4):
        optimizer.zero_grad()
        out = model(data.x_dict, data.edge_index_dict)
        loss = F.cross_entropy(out[papers.train_mask], papers.y[papers.train_mask])
        loss.backward()
        losses += [loss.item(), float(torch.nn.utils.clip_grad_norm_(model.parameters(), clip))]
        optimizer.step()
    state = {key: fg.gather(value).detach() for key, value in model.state_dict().items()}
    return losses, state, fg.gather(optimizer.state[model.author.weight]["exp_avg"]), optimizer


def on_a_rank(world: fg.World, path: str):
    data = fg.open(path, world, round_rows=16)
    model = fg.prepare(Featureless(data).double(), data)
    fixed(model)
    before = world.traffic.reduced_bytes
    *found, optimizer = trained(data, model)
    reduced = world.traffic.reduced_bytes - before
    held = 0
    for table in (model.author.weight, model.venue):
        assert isinstance(table, torch.nn.Parameter)
        assert isinstance(table, Rows)
        held += len(local(table))
        assert local(optimizer.state[table]["exp_avg"]).shape == local(table).shape
    return found, held, reduced, sum(p.numel() for p in model.parameters() if not isinstance(p, Rows))


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return cut_once(tmp_path_factory.mktemp("graphs"), awkward_hetero())("metis", 4)


def test_training_is_that_of_one_process_and_a_rank_has_its_rows(path):
    data = awkward_hetero()
    model = Featureless(data).double()
    fixed(model)
    *wanted, _ = trained(data, model)
    for num_ranks in (1, 2, 4):
        answers = run_ranks(num_ranks, on_a_rank, path)
        assert sum(held for _, held, *_ in answers) == SIZES["author"] + SIZES["venue"]
        for found, _, reduced, num_shared in answers:
            torch.testing.assert_close(found, wanted, rtol=1e-9, atol=1e-10)
            assert reduced < 4 * 8 * (num_shared + 60), "rows of nodes are not summed over ranks"


def first_rows(world: fg.World, path: str):
    data = fg.open(path, world)
    torch.manual_seed(3)
    table = torch.nn.Embedding(data["author"].num_nodes, DIM)
    drawn = fg.gather(table.weight.detach())
    table.load_state_dict({"weight": torch.arange(SIZES["author"] * DIM).view(-1, DIM) / 7})
    return drawn, fg.gather(table(torch.tensor([3, 0, 3])).detach()), fg.gather(table.weight.detach()), repr(table)


def test_rows_are_drawn_by_node_loaded_and_looked_up(path):
    ((wanted, *_),) = run_ranks(1, first_rows, path)
    assert 0.5 < wanted.std() < 1.5
    for drawn, chosen, loaded, text in run_ranks(3, first_rows, path):
        torch.testing.assert_close(drawn, wanted)
        assert torch.equal(loaded, torch.arange(SIZES["author"] * DIM).view(-1, DIM) / 7)
        assert torch.equal(chosen, loaded[[3, 0, 3]])
        assert text == "Embedding(24, 5)"

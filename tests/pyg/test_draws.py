"""Random numbers drawn in a program are keyed by original ids: they never depend on the ranks."""

import pytest
import torch
import torch.nn.functional as F
from torch_geometric import nn as pyg
from torch_geometric import utils
from torch_geometric.data import Data
from torch_geometric.nn import models

import fullgraph as fg
from tests.equivalence.cases import GRAPHS
from tests.equivalence.cut import cut_once
from tests.equivalence.graphs import NUM_CLASSES, NUM_FEATURES, NUM_NODES
from tests.ranks import run_ranks

RANKS = (2, 3, 4)


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return cut_once(tmp_path_factory.mktemp("graphs"), GRAPHS["awkward"]())("metis", 4)


class Noisy(torch.nn.Module):
    """Noise on rows, dropped edges and nodes by PyG's own functions, noise on messages' weights."""

    def __init__(self):
        super().__init__()
        self.first, self.second = pyg.GCNConv(NUM_FEATURES, 8), pyg.GATConv(8, 8)
        self.third = pyg.EdgeConv(torch.nn.Linear(16, NUM_CLASSES))

    def forward(self, x, edge_index, edge_weight):
        x = x + 0.3 * torch.randn_like(x) + 0.1 * torch.randn(x.size(0), 1)
        kept, chosen = utils.dropout_edge(edge_index, p=0.4, training=self.training)
        weight = edge_weight[chosen] * (1 + torch.rand(kept.size(1), dtype=torch.float64))
        hidden = self.first(x, kept, weight).relu()
        hidden = hidden * torch.bernoulli(torch.full((x.size(0), 1), 0.7, dtype=torch.float64))
        hidden = self.second(hidden * torch.rand_like(hidden), edge_index)
        return self.third(hidden, utils.dropout_node(edge_index, p=0.2, training=self.training)[0])


def curve(world: fg.World, path: str):
    data = fg.open(path, world, chunk_edges=60)
    torch.manual_seed(5)
    model = fg.prepare(Noisy().double(), data)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    losses = []
    for _ in range(4):
        optimizer.zero_grad()
        out = model(data.x, data.edge_index, data.edge_weight)
        loss = F.cross_entropy(out[data.train_mask], data.y[data.train_mask])
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


def test_noise_gives_the_same_curve_on_any_number_of_ranks(path):
    (wanted,) = run_ranks(1, curve, path)
    assert len(set(wanted)) == 4
    for num_ranks in RANKS:
        for losses in run_ranks(num_ranks, curve, path):
            assert losses == pytest.approx(wanted, rel=1e-9)


class TwoHeaded(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.mean, self.deviation = pyg.GCNConv(NUM_FEATURES, 4), pyg.GCNConv(NUM_FEATURES, 4)

    def forward(self, x, edge_index):
        x = F.dropout(x, 0.2, self.training)
        return self.mean(x, edge_index), self.deviation(x, edge_index)


def encoded(world: fg.World, path: str):
    data = fg.open(path, world)
    torch.manual_seed(0)
    model = fg.prepare(models.ARGVA(TwoHeaded(), torch.nn.Linear(4, 1)).double(), data)
    z = model.encode(data.x, data.edge_index)
    loss = model.discriminator_loss(z) + model.kl_loss()
    loss.backward()
    return fg.gather(z.detach()), loss.detach(), [p.grad for p in model.encoder.parameters()]


def test_variational_encoders_draw_alike(path):
    (wanted,) = run_ranks(1, encoded, path)
    for num_ranks in RANKS[::2]:
        for found in run_ranks(num_ranks, encoded, path):
            torch.testing.assert_close(found, wanted, rtol=1e-9, atol=1e-9)


def symmetric():
    g = GRAPHS["awkward"]()
    return Data(x=g.x, edge_index=torch.cat([g.edge_index, g.edge_index.flip(0)], dim=1))


def drops(world: fg.World, graph):
    data = fg.open(graph, world)
    torch.manual_seed(3)
    kept, ids = utils.dropout_edge(data.edge_index, p=0.3)
    both, _ = utils.dropout_edge(data.edge_index, p=0.3, force_undirected=True)
    left, mask, nodes = utils.dropout_node(data.edge_index, p=0.3, num_nodes=data.num_nodes)
    return [fg.gather(each) for each in (kept, ids, both, left, mask, nodes)]


def test_the_same_edges_and_nodes_are_dropped_on_any_number_of_ranks():
    g = symmetric()
    (wanted,) = run_ranks(1, drops, g)
    for found in run_ranks(3, drops, g):
        torch.testing.assert_close(found, wanted)
    kept, ids, both, left, mask, nodes = wanted
    assert torch.equal(kept, g.edge_index[:, ids])
    assert 0.6 < kept.shape[1] / g.num_edges < 0.8
    assert utils.is_undirected(both)
    assert 0.6 < both.shape[1] / g.num_edges < 0.8
    assert torch.equal(left, g.edge_index[:, mask])
    assert torch.equal(mask, nodes[g.edge_index].all(0))
    assert 0.5 < float(nodes.double().mean()) < 0.9
    assert len(nodes) == NUM_NODES

"""Random numbers drawn in a model's forward are keyed by global ids, or refused: they never depend on the ranks."""

import pytest
import torch
import torch.nn.functional as F
from torch_geometric import nn as pyg
from torch_geometric.nn import models
from torch_geometric.utils import dropout_edge

import fullgraph as fg
from fullgraph.engine import keyed_normal, keyed_uniform
from fullgraph.errors import UnsupportedOperation
from tests.equivalence.cases import GRAPHS
from tests.equivalence.graphs import NUM_CLASSES, NUM_FEATURES
from tests.ranks import run_ranks


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    path = tmp_path_factory.mktemp("graphs") / "graph.fg"
    fg.partition(GRAPHS["awkward"](), path, num_parts=4)
    return str(path)


class Noisy(torch.nn.Module):
    """Noise on rows, dropped edges by PyG's own function, dropped rows, noise on messages' weights."""

    def __init__(self):
        super().__init__()
        self.first, self.second = pyg.GCNConv(NUM_FEATURES, 8), pyg.GATConv(8, NUM_CLASSES)

    def forward(self, x, edge_index, edge_weight):
        x = x + 0.3 * torch.randn_like(x) + 0.1 * torch.randn(x.size(0), 1)
        kept, chosen = dropout_edge(edge_index, p=0.4, training=self.training)
        weight = edge_weight[chosen] * (1 + torch.rand(kept.size(1), dtype=torch.float64))
        hidden = self.first(x, kept, weight).relu()
        hidden = hidden * torch.bernoulli(torch.full((x.size(0), 1), 0.7, dtype=torch.float64))
        return self.second(hidden * torch.rand_like(hidden), edge_index)


def curve(world: fg.World, path: str):
    data = fg.open(path, world, chunk_edges=60)
    torch.manual_seed(world.rank)  # no draw of torch's own generator may matter
    model = Noisy().double()
    with torch.no_grad():
        for number, parameter in enumerate(model.parameters()):
            parameter.copy_(torch.linspace(-1, 1, parameter.numel()).sin().view(parameter.shape) + 0.1 * number)
    fg.prepare(model, optimizer := torch.optim.SGD(model.parameters(), lr=0.1), data, seed=5)
    losses = []
    for _ in range(4):
        optimizer.zero_grad()
        out = model(data.x, data.edge_index, data.edge_weight)
        loss = fg.mean_loss(F.cross_entropy, out, data.y, data.train_mask, data)
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    return losses


def test_noise_gives_the_same_curve_on_any_number_of_ranks(path):
    (wanted,) = run_ranks(1, curve, path)
    assert len(set(wanted)) == 4
    for num_ranks in (2, 3, 4):
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
    model = models.ARGVA(TwoHeaded(), torch.nn.Linear(4, 1)).double()
    fg.convert(model, data)
    torch.manual_seed(world.rank)
    z = model.encode(data.x, data.edge_index)
    loss = model.discriminator_loss(z) + model.kl_loss()
    loss.backward()
    gradients = [world.all_reduce(p.grad) for p in model.encoder.parameters()]
    return fg.gather_rows(z, data), loss.detach(), gradients


def test_variational_encoders_draw_alike(path):
    wanted = run_ranks(1, encoded, path)[0]
    for num_ranks in (2, 4):
        torch.testing.assert_close(run_ranks(num_ranks, encoded, path)[0], wanted, rtol=1e-9, atol=1e-9)


REFUSED = {
    "randperm": lambda x: x[torch.randperm(len(x))],
    "randint": lambda x: torch.randint(0, 2, (len(x),)),
    "uniform_": lambda x: torch.empty_like(x).uniform_(),
    "gumbel_softmax": lambda x: F.gumbel_softmax(x),
    "multinomial": lambda x: x.softmax(1).multinomial(1),
}


class Draws(torch.nn.Module):
    def __init__(self, draw):
        super().__init__()
        self.draw = draw

    def forward(self, x):
        return self.draw(x)


@pytest.mark.parametrize("name", REFUSED)
def test_other_draws_are_refused(path, name):
    data = fg.open(path)
    with pytest.raises(UnsupportedOperation, match=rf"^each rank would draw numbers of its own here.*: {name}$"):
        fg.convert(Draws(REFUSED[name]), data)(data.x)


@pytest.mark.parametrize("use_reentrant", [False, True])
def test_numbers_that_would_be_drawn_again_are_refused(path, use_reentrant):
    data = fg.open(path)
    model = Draws(
        lambda x: torch.utils.checkpoint.checkpoint(
            lambda x: (x * torch.rand_like(x)).tanh(), x, use_reentrant=use_reentrant
        )
    )
    with pytest.raises(UnsupportedOperation, match="checkpoint"):
        fg.convert(model, data)(data.x.requires_grad_()).sum().backward()


def test_numbers_of_unknown_rows_and_from_generators_are_refused(path):
    data = fg.open(path)
    with pytest.raises(UnsupportedOperation, match=r"needs to know which rows of the whole graph"):
        fg.convert(Draws(lambda x: torch.rand(3)), data)(data.x)
    with pytest.raises(UnsupportedOperation, match=r"leave out the argument generator of: rand$"):
        fg.convert(Draws(lambda x: torch.rand(len(x), generator=torch.Generator())), data)(data.x)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_keyed_numbers_are_spread_as_they_should_and_follow_their_rows(dtype):
    keys = torch.arange(4000)
    uniform = keyed_uniform((4000, 5), 7, keys, dtype)
    assert uniform.dtype == dtype
    assert 0 <= float(uniform.min()) <= float(uniform.max()) < 1
    assert float(uniform.double().mean()) == pytest.approx(0.5, abs=0.01)
    assert float(uniform.double().var()) == pytest.approx(1 / 12, abs=0.003)
    order = torch.randperm(4000, generator=torch.Generator().manual_seed(0))
    assert torch.equal(keyed_uniform((4000, 5), 7, keys[order], dtype), uniform[order])
    assert not torch.equal(keyed_uniform((4000, 5), 8, keys, dtype), uniform)
    normal = keyed_normal((4000, 5), 7, keys, dtype).double()
    assert float(normal.mean()) == pytest.approx(0, abs=0.02)
    assert float(normal.var()) == pytest.approx(1, abs=0.04)
    assert float((normal**4).mean()) == pytest.approx(3, abs=0.3)
    assert float((normal[:, 0] * normal[:, 1]).mean()) == pytest.approx(0, abs=0.05)

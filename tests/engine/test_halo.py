"""Rows are extended by those that a rank needs of others, and copied by no rank that needs none; gradients go home."""

import pytest
import torch

import fullgraph as fg
from fullgraph.config import EngineConfig
from fullgraph.engine import Halo, with_halo, without_halo
from tests.ranks import run_ranks

NUM_OWN, WIDTH = 3, 2
# Per rank, which rows it needs of each rank. Rank 0 needs none, but gives some; the last rank does neither.
NEEDED = {
    1: [[[]]],
    3: [[[], [], []], [[0, 2], [], []], [[], [], []]],
    4: [[[], [], [], []], [[0, 2], [], [1], []], [[2], [0, 1], [], []], [[], [], [], []]],
}


def rows_of(rank: int) -> torch.Tensor:
    return torch.arange(NUM_OWN * WIDTH, dtype=torch.float64).view(NUM_OWN, WIDTH) + 10 * rank


def weights_of(rank: int, num_rows: int) -> torch.Tensor:
    return torch.arange(1, num_rows * WIDTH + 1, dtype=torch.float64).view(num_rows, WIDTH) ** (rank + 1)


def extended(world: fg.World, columns: slice):
    needed = tuple(torch.tensor(ids, dtype=torch.int64) for ids in NEEDED[world.num_ranks][world.rank])
    halo = Halo.connect(world, EngineConfig(), NUM_OWN, needed)
    x = rows_of(world.rank)[:, columns].requires_grad_()
    rows = with_halo(x, halo)
    weights = weights_of(world.rank, len(rows))[:, columns]
    grad = weights.clone()
    rows.backward(grad)
    given = (weights.clone(), without_halo(weights, halo))
    assert torch.equal(weights, given[0]), "what is given is not changed"
    assert torch.equal(grad, weights)
    return rows.detach(), x.grad, given[1], rows.data_ptr() == x.data_ptr(), rows.is_contiguous()


@pytest.mark.parametrize("columns", [slice(None), slice(1)])
@pytest.mark.parametrize("num_ranks", NEEDED)
def test_rows_and_gradients(num_ranks, columns):
    needed = NEEDED[num_ranks]
    answers = run_ranks(num_ranks, extended, columns)
    # The rows of all ranks as one matrix: own rows, then the needed ones in rank order.
    sources = [
        [(rank, row) for row in range(NUM_OWN)] + [(owner, row) for owner in range(num_ranks) for row in lists[owner]]
        for rank, lists in enumerate(needed)
    ]
    home = torch.zeros(num_ranks, NUM_OWN, WIDTH, dtype=torch.float64)
    for rank, wanted in enumerate(sources):
        for place, (owner, row) in enumerate(wanted):
            home[owner, row] += weights_of(rank, len(wanted))[place]
    for rank, (rows, grad, reduced, is_same_memory, is_contiguous) in enumerate(answers):
        expected = torch.stack([rows_of(owner)[row] for owner, row in sources[rank]])
        torch.testing.assert_close(rows, expected[:, columns], rtol=0, atol=0)
        torch.testing.assert_close(grad, home[rank][:, columns], rtol=0, atol=0)
        torch.testing.assert_close(reduced, home[rank][:, columns], rtol=0, atol=0)
        assert is_contiguous
        needs_none, is_given_contiguous = not any(needed[rank]), columns == slice(None)
        assert is_same_memory == (needs_none and is_given_contiguous)


def second_derivative(world: fg.World):
    needed = tuple(torch.tensor(ids, dtype=torch.int64) for ids in NEEDED[world.num_ranks][world.rank])
    halo = Halo.connect(world, EngineConfig(), NUM_OWN, needed)
    x = rows_of(world.rank).requires_grad_()
    (grad,) = torch.autograd.grad((with_halo(x, halo) ** 3).sum(), x, create_graph=True)
    grad.sum().backward()
    return x.grad


@pytest.mark.parametrize("num_ranks", NEEDED)
def test_gradients_of_gradients(num_ranks):
    times = torch.ones(num_ranks, NUM_OWN, 1, dtype=torch.float64)  # how many ranks hold each row
    for lists in NEEDED[num_ranks]:
        for owner, rows in enumerate(lists):
            times[owner, rows] += 1
    for rank, second in enumerate(run_ranks(num_ranks, second_derivative)):
        torch.testing.assert_close(second, 6 * rows_of(rank) * times[rank], rtol=1e-12, atol=0)

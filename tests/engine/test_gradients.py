"""Gradients are summed over ranks in one message; a parameter without one anywhere stays without."""

import torch
from torch.nn import Parameter

from fullgraph.comm import World
from fullgraph.engine import sum_gradients
from tests.ranks import run_ranks


def summed(world: World):
    everywhere, somewhere, nowhere = (Parameter(torch.zeros(2, 2)) for _ in range(3))
    double, frozen = Parameter(torch.zeros(3, dtype=torch.float64)), Parameter(torch.zeros(1), requires_grad=False)
    everywhere.grad = torch.full((2, 2), 1.0 + world.rank)
    double.grad = torch.full((3,), 0.1, dtype=torch.float64)
    if world.rank == 1:
        somewhere.grad = torch.full((2, 2), 5.0)
    before = world.traffic.reduced_bytes
    sum_gradients([everywhere, somewhere, nowhere, double, frozen], world)
    sent = world.traffic.reduced_bytes - before
    return everywhere.grad, somewhere.grad, nowhere.grad, double.grad, frozen.grad, sent


def test_sums_over_three_ranks():
    for everywhere, somewhere, nowhere, double, frozen, sent in run_ranks(3, summed):
        assert torch.equal(everywhere, torch.full((2, 2), 6.0))
        assert torch.equal(somewhere, torch.full((2, 2), 5.0))
        assert nowhere is None
        assert frozen is None
        torch.testing.assert_close(double, torch.full((3,), 0.3, dtype=torch.float64))
        assert sent == (12 + 3) * 4 + (3 + 1) * 8

"""Draws depend on seed, step and call, and masks on global ids, never on the rank."""

import pytest
import torch

from fullgraph.engine import Randomness, keyed_dropout
from fullgraph.errors import UnsupportedOperation


def test_draws_differ_and_repeat():
    def sequence(seed: int) -> list[int]:
        randomness, keys = Randomness(seed=seed), []
        for _ in range(3):
            keys += [randomness.draw(), randomness.draw()]
            randomness.next_step()
        return keys

    assert len(set(sequence(0))) == 6
    assert sequence(0) == sequence(0)
    assert not set(sequence(0)) & set(sequence(1))
    assert all(0 <= key < 2**63 for key in sequence(0))


def test_state_continues_where_it_was():
    first = Randomness(seed=3)
    first.draw()
    first.next_step()
    second = Randomness()
    second.load(first.state())
    assert second.draw() == first.draw()


def test_drawing_inside_backward_is_refused():
    class Draws(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x.clone()

        @staticmethod
        def backward(ctx, grad):
            Randomness().draw()
            return grad

    with pytest.raises(UnsupportedOperation, match=r"^dropout was drawn again inside backward"):
        Draws.apply(torch.ones(1, requires_grad=True)).backward()


def test_a_row_keeps_its_mask_wherever_it_lies():
    ids = torch.arange(50)
    x = torch.randn(50, 2, 3, dtype=torch.float64)
    whole = keyed_dropout(x, 0.4, 11, ids)
    some = torch.tensor([40, 3, 17])
    assert torch.equal(keyed_dropout(x[some], 0.4, 11, ids[some]), whole[some])
    assert not torch.equal(keyed_dropout(x, 0.4, 12, ids), whole)
    kept = whole != 0
    torch.testing.assert_close(whole[kept], x[kept] / 0.6)


def test_its_gradient_uses_the_same_mask():
    x = torch.randn(20, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: keyed_dropout(x, 0.3, 5, torch.arange(20)), x)


def test_extreme_probabilities():
    x = torch.randn(4, 2)
    assert keyed_dropout(x, 0, 1, torch.arange(4)) is x
    assert torch.equal(keyed_dropout(x, 1, 1, torch.arange(4)), torch.zeros(4, 2))

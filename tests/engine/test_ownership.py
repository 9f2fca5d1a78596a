"""A gradient is overwritten only where nobody can see it, and whoever sees one sees what autograd says it is."""

from typing import Any

import pytest
import torch
from torch import Tensor

from fullgraph.comm import World
from fullgraph.engine import batch_norm, keyed_dropout
from fullgraph.engine.backward.once import backward_once
from fullgraph.engine.backward.ownership import is_sole

WHOLE = torch.linspace(-1, 1, 12, dtype=torch.float64).reshape(4, 3)


class Doubled(torch.autograd.Function):
    """Notes whether its gradient is its own to write."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, found: list[bool]) -> Tensor:
        ctx.found = found
        return 2 * x

    @staticmethod
    @backward_once
    def backward(ctx: Any, *grads: Tensor) -> Any:
        ctx.found.append(is_sole(grads))
        return 2 * grads[0], None


def plain(y: Tensor) -> None:
    y.pow(2).sum().backward()


def by_a_function_in_python(y: Tensor) -> None:
    Doubled.apply(y, []).pow(2).sum().backward()


def added_up(y: Tensor) -> None:
    (y * y + y.exp()).sum().backward()


def retained(y: Tensor) -> None:  # autograd copies what it retains
    y.retain_grad()
    y.pow(2).sum().backward()


def in_a_hook(y: Tensor) -> None:
    kept = []
    y.register_hook(kept.append)
    y.pow(2).sum().backward()


def in_a_hook_as_a_view(y: Tensor) -> None:
    kept = []
    y.register_hook(lambda grad: kept.append(grad.detach()))
    y.pow(2).sum().backward()


def in_a_hook_as_numpy(y: Tensor) -> None:
    kept = []
    y.register_hook(lambda grad: kept.append(grad.numpy()))
    y.pow(2).sum().backward()


def in_a_hook_of_the_operation(y: Tensor) -> None:
    kept = []
    y.grad_fn.register_prehook(lambda grads: kept.append(grads[0]))
    y.pow(2).sum().backward()


def asked_for(y: Tensor) -> None:
    kept = torch.autograd.grad(y.pow(2).sum(), [y, y.grad_fn.next_functions[0][0].variable])
    assert len(kept) == 2


def given(y: Tensor) -> None:
    grad = torch.ones_like(y)
    y.backward(grad)


def expanded(y: Tensor) -> None:
    y.sum().backward()


def viewed(y: Tensor) -> None:
    y.view(-1).pow(2).sum().backward()


def transposed(y: Tensor) -> None:
    y.T.contiguous().pow(2).sum().backward()


@pytest.mark.parametrize("use", [plain, by_a_function_in_python, added_up, retained])
def test_what_nobody_else_knows_may_be_overwritten(use):
    found = []
    use(Doubled.apply(torch.ones(4, 3, requires_grad=True), found))
    assert found == [True]


@pytest.mark.parametrize(
    "use",
    [
        in_a_hook,
        in_a_hook_as_a_view,
        in_a_hook_as_numpy,
        in_a_hook_of_the_operation,
        asked_for,
        given,
        expanded,
        viewed,
        transposed,
    ],
)
def test_what_others_may_know_is_not(use):
    found = []
    use(Doubled.apply(torch.ones(4, 3, requires_grad=True), found))
    assert found == [False]


def normed(x: Tensor) -> Tensor:
    return batch_norm(x, None, None, 1e-5, World())[0]


def dropped(x: Tensor) -> Tensor:
    return keyed_dropout(x, 0.5, 7, torch.arange(len(x)))


@pytest.mark.parametrize("operation", [normed, dropped])
def test_gradients_that_are_seen_are_not_changed_afterwards(operation):
    seen = {}

    def looked_at(look: bool) -> Tensor:
        x = WHOLE.clone().requires_grad_()
        y = operation(operation(x.exp()).exp())
        if look:
            y.retain_grad()
            y.register_hook(lambda grad: seen.update(hooked=grad, before=grad.clone()))
        y.pow(2).sum().backward()
        if look:
            seen["retained"] = y.grad
            torch.testing.assert_close(y.grad, 2 * y.detach(), rtol=0, atol=0)
        return x.grad

    assert torch.equal(looked_at(True), looked_at(False))
    assert torch.equal(seen["hooked"], seen["before"])
    assert torch.equal(seen["retained"], seen["before"])


@pytest.mark.parametrize("operation", [normed, dropped])
def test_branches_that_are_given_the_same_gradient_do_not_disturb_each_other(operation):
    def gradients(operation) -> list[Tensor]:
        leaves = [(WHOLE + shift).requires_grad_() for shift in range(3)]
        a, b, c = (operation(leaf.exp()) for leaf in leaves)
        ((a + b + c) * WHOLE).sum().backward()  # an addition hands one gradient to both of its sides
        return [leaf.grad for leaf in leaves]

    def alone(x: Tensor) -> Tensor:
        return operation(x) * 1  # which makes a gradient of its own

    for got, want in zip(gradients(operation), gradients(alone), strict=True):
        torch.testing.assert_close(got, want, rtol=1e-12, atol=1e-12)

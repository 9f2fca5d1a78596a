"""A user's ``torch.autograd.Function`` sees rows of the whole graph in forward and in backward."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from fullgraph.comm import World
from fullgraph.errors import UnsupportedOperation
from fullgraph.rows import distribute, is_rows
from tests.ranks import run_ranks
from tests.rows.programs import Made, N, compare, leaf, random, weight
from tests.rows.spaces import node_space


class Centred(torch.autograd.Function):
    """``(x - mean) @ w``, whose backward sums over rows."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, w: Tensor, scale: float = 1.0) -> Tensor:
        assert x.shape == (N, 4)
        assert ctx.needs_input_grad[:2] == (True, True)
        ctx.save_for_backward(x, w, None, x * 2)
        ctx.scale = scale
        return (x - x.mean(0)) @ w * scale

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:
        x, w, none, twice = ctx.saved_tensors
        assert none is None
        assert (grad.shape, twice.shape) == ((N, 3), x.shape)
        through = grad @ w.t() * ctx.scale
        return through - through.mean(0), (x - x.mean(0)).t() @ grad * ctx.scale, None


centred = Centred.apply


class Contextless(torch.autograd.Function):
    """Several results, of which one is for every rank and one is no tensor."""

    @staticmethod
    def forward(x: Tensor, shift: Tensor, times: int = 3) -> Any:
        return x * times + shift, x.sum(0), "no tensor"

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        x, _, ctx.times = inputs
        ctx.save_for_backward(output[0], x)
        ctx.set_materialize_grads(False)

    @staticmethod
    def backward(ctx: Any, rows: Tensor | None, total: Tensor | None, none: None) -> Any:
        out, x = ctx.saved_tensors
        assert out.shape == x.shape
        gx = torch.zeros_like(x) if rows is None else rows * ctx.times
        return gx if total is None else gx + total, rows, None  # the shift's is summed over rows by torch


class InPlace(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        x.mul_(3)
        ctx.mark_dirty(x)
        return x

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        return grad * 3 * grad.sum() / grad.sum()


class Same(torch.autograd.Function):
    """Its arguments as they are, as torch's own for hooks of modules."""

    @staticmethod
    def forward(ctx: Any, *args: Tensor) -> Any:
        return args

    @staticmethod
    def vjp(ctx: Any, *grads: Tensor) -> Any:
        return tuple(grad - grad.mean(0) for grad in grads)


class Once(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return x.square()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        return 2 * x * grad + x.mean(0)


class Everywhere(torch.autograd.Function):
    """What every rank has, cut where it meets rows: its gradient comes back as rows."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, table: Tensor, bias: Tensor) -> Tensor:
        ctx.save_for_backward(x, table)
        return x * table + bias

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:
        x, table = ctx.saved_tensors
        return grad * table, grad * x, grad


class FromEverywhere(torch.autograd.Function):
    """A gradient of rows that every rank has."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x.sum()

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        return grad * random(N, 4, seed=4)


def old_style(made: Made) -> Any:
    x, w = leaf(made), weight()
    y = centred(x, w, 2.0)
    assert y.grad_fn.name() == "CentredBackward"
    z = Centred.apply(x, w)
    (y.square().sum() + z.sigmoid().sum()).backward()
    return y, z, x.grad, w.grad


def setup_style(made: Made) -> Any:
    x, shift = leaf(made), weight(1, 4)
    y, total, other = Contextless.apply(x, shift)
    assert other == "no tensor"
    one = torch.autograd.grad(y.square().sum(), [x, shift], retain_graph=True)
    two = torch.autograd.grad(total.square().sum(), [x], retain_graph=True)
    (y.tanh() * total).sum().backward()
    return y, total, *one, *two, x.grad, shift.grad


def twice(made: Made) -> Any:
    x, w, shift = leaf(made), weight(), weight(1, 4)
    y = centred(Contextless.apply(x, shift, 2)[0].tanh(), w, 2.0).square().mean()
    grads = torch.autograd.grad(y, [x, w, shift], create_graph=True)
    torch.stack([g.square().sum() for g in grads]).sum().backward()
    return *grads, x.grad, w.grad, shift.grad


def in_place(made: Made) -> Any:
    x = leaf(made)
    y = x * 2
    z = InPlace.apply(y)
    assert z is y
    y.square().sum().backward()
    return y, x.grad


def same(made: Made) -> Any:
    x, w = leaf(made), weight()
    y, v = Same.apply(x, w)
    assert y is not x
    assert type(y) is type(x)
    with torch.no_grad():
        still = Same.apply(x)[0]
    (y @ v).square().sum().backward()
    return y, v, still, x.grad, w.grad


def once(made: Made) -> Any:
    x = leaf(made)
    y = Once.apply(x * 2)
    y.square().sum().backward()
    return y, x.grad


def everywhere(made: Made) -> Any:
    x, table, bias = leaf(made), leaf(lambda t: t, seed=3), weight(2, 1, 4)
    Everywhere.apply(x, table, bias).square().sum().backward()
    y = FromEverywhere.apply(x)
    (given,) = torch.autograd.grad(y * y, x)
    return y, given, x.grad, table.grad, bias.grad


def saved_hooks(made: Made) -> Any:
    x, w = leaf(made), weight()
    with torch.autograd.graph.saved_tensors_hooks(lambda t: t.clone(), lambda t: t):
        y = centred(x * 1, w)
    with torch.autograd.graph.save_on_cpu():
        z = centred(x, w)
    (y * z).sum().backward()
    return x.grad, w.grad


_PROGRAMS = [old_style, setup_style, twice, in_place, same, once, everywhere, saved_hooks]


@pytest.mark.parametrize("num_ranks", [1, 3])
@pytest.mark.parametrize("program", _PROGRAMS, ids=lambda p: p.__name__)
def test_is_what_one_process_has(num_ranks: int, program: Callable[[Made], Any]) -> None:
    run_ranks(num_ranks, compare, program)


class Wrong(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x * 2

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        return grad[:, :3]


def _refusals(world: World) -> None:
    x = distribute(random(N, 4), node_space(world, N)).requires_grad_()

    class Captures(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, w: Tensor) -> Tensor:
            return x.detach() @ w

        @staticmethod
        def backward(ctx: Any, grad: Tensor) -> Tensor:
            return x.detach().t() @ grad

    with pytest.raises(UnsupportedOperation, match="give them to it"):
        Captures.apply(weight())
    with pytest.raises(RuntimeError, match="invalid gradient at index 0"):
        Wrong.apply(x).sum().backward()
    with pytest.raises(UnsupportedOperation, match="once_differentiable"):
        torch.autograd.grad(Once.apply(x * 2).square().sum(), x, create_graph=True)
    assert is_rows(Same.apply(x)[0])
    assert type(Same.apply(weight())[0]) is Tensor


@pytest.mark.parametrize("num_ranks", [1, 3])
def test_refusals(num_ranks: int) -> None:
    run_ranks(num_ranks, _refusals)

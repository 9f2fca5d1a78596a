"""The operations that carry a program's gradients over ranks, two by two each other's adjoint.

`sum_over_ranks`: where rows become a value that every rank has, the shares of all ranks are added; backward hands the
gradient to each rank as it is. `enter`: where such a value meets rows, nothing is done; backward adds up what the rows
of all ranks give back. `gather`: all rows on every rank, in the order of one process; backward gives each rank its own,
and `distribute` is the reverse. With these every gradient that anybody sees is the one of one process, to any order.
"""

from typing import Any

import torch
from torch import Tensor

from fullgraph.comm import Routes, fetch_all
from fullgraph.errors import UnsupportedOperation
from fullgraph.rows.space import Space
from fullgraph.rows.tensor import Rows, functions_off, local, rows
from fullgraph.rows.view import View


def sum_over_ranks(x: Tensor, view: View) -> Tensor:
    """The sum of all ranks' ``x``, differentiable. Collective, in forward only."""
    view.check()
    if view.is_alone:
        return x
    _check_no_transform()
    return _Sum.apply(x, view)  # pyright: ignore[reportReturnType]


def enter(values: list[Tensor], view: View) -> list[Tensor]:
    """Aliases of what every rank has, for use beside rows. Backward is one collective for all of them."""
    if view.is_alone or not torch.is_grad_enabled():
        return values
    _check_no_transform()
    return list(_Enter.apply(view, *values))  # pyright: ignore[reportArgumentType]


def _check_no_transform() -> None:
    if torch._C._functorch.maybe_current_level() is not None:  # pyright: ignore[reportAttributeAccessIssue]
        raise UnsupportedOperation(
            "torch.func and torch.vmap do not reach over several ranks; write torch.autograd.grad, or what "
            "torch.autograd.functional has: see docs/your-model.md"
        )


class _Sum(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, view: View) -> Tensor:
        ctx.view = view
        return view.sum(x)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        return enter([grads[0]], ctx.view)[0] if grads[0].requires_grad else grads[0], None


class _Enter(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, view: View, *values: Tensor) -> tuple[Tensor, ...]:
        ctx.view = view
        ctx.set_materialize_grads(False)  # what no operation used has no gradient, as on one process
        return tuple(value.detach() for value in values)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor | None) -> Any:
        given = [grad for grad in grads if grad is not None]
        summed = iter(_summed(given, ctx.view))
        return None, *(None if grad is None else next(summed) for grad in grads)


def _summed(grads: list[Tensor], view: View) -> list[Tensor]:
    """Each summed over ranks, with one collective for each dtype."""
    summed: dict[int, Tensor] = {}
    for dtype in {grad.dtype: None for grad in grads}:
        places = [place for place, grad in enumerate(grads) if grad.dtype == dtype]
        total = sum_over_ranks(torch.cat([grads[place].reshape(-1) for place in places]), view)
        summed |= zip(places, total.split([grads[place].numel() for place in places]), strict=True)
    return [summed[place].view(grad.shape) for place, grad in enumerate(grads)]


def gather(x: Tensor) -> Tensor:
    """All rows of ``x`` on every rank, in the order of the whole graph, as an ordinary tensor. Collective.

    Differentiable, to any order. What is no `Rows` is returned as it is.
    """
    if not isinstance(x, Rows):
        return x
    with functions_off():
        everywhere = _Gather.apply(local(x).movedim(x._dim, 0), x._space)
        return everywhere.movedim(0, x._dim)  # pyright: ignore[reportOptionalMemberAccess]


def distribute(x: Tensor, space: Space, dim: int = 0) -> Rows:
    """This rank's rows of what every rank has all rows of, along ``dim``, as `Rows`. Collective in backward."""
    with functions_off():
        if x.requires_grad and torch.is_grad_enabled() and not space.view.is_alone:
            own = _Localize.apply(x.movedim(dim, 0), space)
            return rows(own.movedim(0, dim), space, dim)  # pyright: ignore[reportOptionalMemberAccess]
        own = space.localize(x, dim)
        return rows(own.view_as(own) if own is x else own, space, dim)


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, own: Tensor, space: Space) -> Tensor:
        ctx.space = space
        view = space.view
        view.check()
        if view.is_alone and space.is_identity:
            return own.clone()
        everything = [_everyone(own, space), _everyone(space.positions, space)]
        return torch.empty_like(everything[0]).index_copy_(0, everything[1], everything[0])

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        return _Localize.apply(grads[0], ctx.space), None


class _Localize(torch.autograd.Function):
    """The adjoint of `_Gather` for a gradient that every rank has: its own rows."""

    @staticmethod
    def forward(ctx: Any, everywhere: Tensor, space: Space) -> Tensor:
        ctx.space = space
        return space.localize(everywhere, 0).clone()

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        return _Gather.apply(grads[0], ctx.space), None


def _everyone(own: Tensor, space: Space) -> Tensor:
    """The rows of all ranks, one rank after another."""
    world = space.view.world
    if world.num_ranks == 1:
        return own
    numbers = own.to(torch.uint8) if own.dtype == torch.bool else own
    everything = torch.arange(len(own), device=own.device)
    sends = tuple(everything if rank != world.rank else everything[:0] for rank in range(world.num_ranks))
    if "everyone" not in space.__dict__:
        space.__dict__["everyone"] = Routes.giving(world, sends)
    routes = space.__dict__["everyone"]
    parts = list(fetch_all(routes, numbers.contiguous(), "setup_bytes").split(routes.receive_counts))
    parts[world.rank] = numbers
    return torch.cat(parts).to(own.dtype)


def with_gradient_of(exact: Tensor, rough: Tensor) -> Tensor:
    """``exact``, with the gradient of ``rough``, which is the same but for rounding."""
    return _Exact.apply(exact, rough)  # pyright: ignore[reportReturnType]


class _Exact(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, exact: Tensor, rough: Tensor) -> Tensor:
        return exact.clone()

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        return None, grads[0]

"""All rows on every rank, in the order of one process, and back."""

from typing import Any

import torch
from torch import Tensor

from fullgraph.comm import Routes, fetch_all
from fullgraph.rows.space import Space
from fullgraph.rows.tensor import Rows, functions_off, local, rows


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

"""Reductions by group over all ranks, into what every rank has: each rank reduces its own values, then these are put
together.

Gradients are torch's own: a sum hands them to every value, a mean divides them, the largest value gets all, and equally
large ones share it, whichever ranks these are on.
"""

from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from fullgraph.rows.adjoints import sum_over_ranks
from fullgraph.rows.extremes import neutral, over_ranks
from fullgraph.rows.space import Space


@dataclass(frozen=True)
class Reduced:
    """What is reduced.

    Attributes:
        base: what stood there before, the same on every rank.
        dim: the dimension of groups.
        index: this rank's group of each value, of the shape of ``src``.
        src: this rank's values.
        space: what rows they are.
        include_self: whether ``base`` takes part in groups that have values.
    """

    base: Tensor
    dim: int
    index: Tensor
    src: Tensor
    space: Space
    include_self: bool

    def sum(self, values: Tensor) -> Tensor:
        """The sum of each group's values, over all ranks, differentiable. Collective."""
        return sum_over_ranks(self._own_sum(values), self.space.view)

    def plain_sum(self, values: Tensor) -> Tensor:
        """As `sum`, not differentiable."""
        return self.space.view.sum(self._own_sum(values.detach()))

    def _own_sum(self, values: Tensor) -> Tensor:
        zeros = values.new_zeros(self.base.shape)
        if values.dtype == torch.bool:  # whose sum is: any
            return zeros.scatter_reduce(self.dim, self.index, values, "amax")
        return zeros.scatter_add(self.dim, self.index, values)

    def of_values(self, groups: Tensor) -> Tensor:
        """What belongs to each value's group."""
        return groups.gather(self.dim, self.index)

    def counts(self) -> Tensor:
        """How many values each group has, int64. Collective."""
        return self.plain_sum(torch.ones_like(self.src, dtype=torch.int64))

    @property
    def needs_grad(self) -> bool:
        """Whether somebody may ask for gradients: the same on all ranks."""
        return torch.is_grad_enabled() and (self.base.requires_grad or self.src.requires_grad)


def reduced_over_ranks(of: Reduced, reduce: str) -> Tensor:
    """The groups' values put together: sum, prod, mean, amax, amin, or assign for the last of each. Collective."""
    return _BY_NAME[reduce](of)


def _kept(of: Reduced, touched: Tensor | None, neutral: Any) -> Tensor:
    """What stood there before, as far as it takes part: in place of the rest something that changes nothing."""
    return of.base if touched is None else torch.where(touched, torch.full_like(of.base, neutral), of.base)


def _touched(of: Reduced) -> Tensor | None:
    """Which groups have values, if nothing else shall count in these; else None."""
    return None if of.include_self else of.counts() > 0


def _sum(of: Reduced) -> Tensor:
    return _kept(of, _touched(of), 0) + of.sum(of.src)


def _prod(of: Reduced) -> Tensor:
    world = of.space.view.world
    own = torch.ones_like(of.base).scatter_reduce(of.dim, of.index, of.src, "prod")
    every = torch.stack([own if rank == world.rank else own.new_zeros(own.shape) for rank in range(world.num_ranks)])
    return _kept(of, _touched(of), 1) * sum_over_ranks(every, of.space.view).prod(0, dtype=own.dtype)


def _mean(of: Reduced) -> Tensor:
    counts = of.counts()
    total = _kept(of, None if of.include_self else counts > 0, 0) + of.sum(of.src)
    counts = counts + 1 if of.include_self else counts.clamp(min=1)
    if total.is_floating_point() or total.is_complex():
        return total / counts.to(total.dtype)
    return total.div(counts, rounding_mode="floor").to(total.dtype)


def _assign(of: Reduced) -> Tensor:
    """The last value of each group. As torch has it, the gradient goes to all of them."""
    view = of.space.view
    shape = [-1 if d == of.dim else 1 for d in range(of.src.dim())]
    place = (of.space.positions + 1).view(shape).expand(of.index.shape)
    nothing = torch.zeros(of.base.shape, dtype=torch.int64, device=place.device)
    last = view.max(nothing.scatter_reduce(of.dim, of.index, place, "amax"))
    is_last = of.of_values(last) == place
    exact = of.plain_sum(torch.where(is_last, of.src, torch.zeros_like(of.src)))
    total = with_gradient_of(exact, of.sum(of.src)) if of.needs_grad else exact
    return torch.where(last > 0, total, of.base)


def _extremum(of: Reduced, reduce: str) -> Tensor:
    best = _exact_extremum(of, reduce)
    touched = _touched(of)
    if of.include_self:
        pair = torch.stack([best, of.base.detach()])
        exact = pair.amax(0) if reduce == "amax" else pair.amin(0)
    else:
        exact = torch.where(touched, best, of.base.detach())  # pyright: ignore[reportArgumentType, reportCallIssue]
    if not of.needs_grad:
        return exact
    # the mean of all that are equally large; torch counts what stood there before even where it does not take part
    base_is, src_is = of.base == exact, of.src == of.of_values(exact)
    shares = base_is.to(exact.dtype) + of.plain_sum(src_is.to(exact.dtype))
    base = of.base if touched is None else torch.where(touched, of.base.detach(), of.base)
    zero = torch.zeros((), dtype=exact.dtype, device=exact.device)
    total = torch.where(base_is, base, zero) + of.sum(torch.where(src_is, of.src, zero))
    return with_gradient_of(exact, total / shares)


def _exact_extremum(of: Reduced, reduce: str) -> Tensor:
    """The largest or smallest value of each group, NaN if one is; of no values what every value is better than."""
    largest, src = reduce == "amax", of.src.detach()
    start = torch.full(of.base.shape, neutral(src, largest=largest), dtype=src.dtype, device=src.device)
    return over_ranks(start.scatter_reduce(of.dim, of.index, src, reduce), of.space.view, largest=largest)


_BY_NAME = {
    **{"sum": _sum, "prod": _prod, "mean": _mean, "assign": _assign},
    **{name: partial(_extremum, reduce=name) for name in ("amax", "amin")},
}


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

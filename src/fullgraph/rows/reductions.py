"""Reductions: along columns each row for itself, along rows over all ranks, exactly and differentiable to any order.

Own rows are reduced first, so that only results travel: sums, in single precision for halves, as torch has it within
one process; extremes, and the first position of each. Gradients of extremes go where torch lets them go: shared evenly
among equals (``amax``, ``x.max()``), or to the one entry whose index is given (``x.max(dim)``).
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from fullgraph.rows.adjoints import sum_over_ranks, with_gradient_of
from fullgraph.rows.alignment import broadcast, with_more, wrapped
from fullgraph.rows.calls import dims_of, mapped, name_of, named, rows_only
from fullgraph.rows.space import Space
from fullgraph.rows.table import meaning
from fullgraph.rows.tensor import local
from fullgraph.rows.view import View


@dataclass(frozen=True, kw_only=True)
class Reduction:
    """What a reduction over rows is asked for.

    Attributes:
        func: the function.
        given: all arguments, by name.
        own: this rank's rows, a plain tensor: of the dtype that is asked for, halves in single precision.
        space: of which rows.
        row_dim: the dimension that the rows are.
        dims: the dimensions that are reduced, ``row_dim`` among them, counted from 0.
        keepdim: whether they stay, with size 1.
    """

    func: Any
    given: dict[str, Any]
    own: Tensor
    space: Space
    row_dim: int
    dims: tuple[int, ...]
    keepdim: bool

    @property
    def view(self) -> View:
        """The ranks."""
        return self.space.view

    @property
    def count(self) -> int:
        """How many entries each result is made of."""
        return math.prod(self.space.num_rows if dim == self.row_dim else self.own.shape[dim] for dim in self.dims)

    def total(self, x: Tensor) -> Tensor:
        """The sum of ``x``, entries of own rows, over all rows; differentiable where they are."""
        part = x.sum(self.dims, keepdim=self.keepdim)
        is_continuous = part.is_floating_point() or part.is_complex()
        return sum_over_ranks(part, self.view) if is_continuous else self.view.sum(part)

    def kept(self, out: Tensor) -> Tensor:
        """A result that has kept its dimensions, without them if it shall not."""
        return out if self.keepdim else out.squeeze(self.dims)


OverRows = Callable[[Reduction], Any]


def reduction(names: str, signature: str = "input dim keepdim") -> Callable[[OverRows], OverRows]:
    """Register what is done when rows are reduced and lie on several ranks."""

    def register(over_rows: OverRows) -> OverRows:
        @meaning(names, enters=False)
        def _reduce(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
            return reduce_rows(func, args, kwargs, named(args, kwargs, signature), over_rows)

        return over_rows

    return register


def reduce_rows(
    func: Any,
    args: Any,
    kwargs: Any,
    given: dict[str, Any],
    over_rows: OverRows,
    of_one: Callable[[Tensor], Any] | None = None,
) -> Any:
    """Reduce each row for itself, or all rows; ``given`` are the arguments by name.

    One rank that has all rows, and rows of which there are none, need nobody else: torch itself is asked. Else it is
    asked what it makes of one entry (by ``of_one``, if by the same arguments it would warn): its error, or the dtypes.
    """
    x = rows_only(func, given.get("input"))
    space, row_dim, keepdim = x._space, x._dim, bool(given.get("keepdim", False))
    dims = dims_of(x, given.get("dim"))
    if row_dim not in dims and dims:
        after = row_dim if keepdim else row_dim - sum(dim < row_dim for dim in dims)
        return wrapped(func(*args, **kwargs), space, after)
    if not dims and name_of(func) in ("all", "any"):
        return wrapped(func(*args, **kwargs), space, row_dim)  # which reduce nothing then; others everything
    space.view.check()
    if space.view.is_alone or space.num_rows == 0:
        return func(*args, **kwargs)
    own, one = local(x), local(x).new_zeros([1] * x.dim())
    if of_one is None:
        args, kwargs = mapped((args, kwargs), lambda each: one if each is x else each)
    like = func(*args, **kwargs) if of_one is None else of_one(one)
    asked = Reduction(
        func=func,
        given=given,
        own=wide(own.to(given.get("dtype") or own.dtype)),
        space=space,
        row_dim=row_dim,
        dims=dims or dims_of(x, None),
        keepdim=keepdim,
    )
    out = over_rows(asked)
    if isinstance(like, Tensor):
        return out.to(like.dtype)
    return type(like)([each.to(of_like.dtype) for each, of_like in zip(out, like, strict=True)])


def wide(x: Tensor) -> Tensor:
    """``x``, halves in single precision."""
    return x.float() if x.dtype in (torch.float16, torch.bfloat16) else x


reduction("sum")(lambda asked: asked.total(asked.own))
reduction("nansum")(lambda asked: asked.total(torch.where(asked.own.isnan(), 0, asked.own)))
reduction("mean")(lambda asked: asked.total(asked.own) / asked.count)


@reduction("all any")
def _all_or_any(asked: Reduction) -> Tensor:
    over_ranks = asked.view.min if name_of(asked.func) == "all" else asked.view.max
    return over_ranks(asked.func(asked.own, asked.dims, keepdim=asked.keepdim))


@meaning("count_nonzero", enters=False)
def _count_nonzero(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    several = (args[0], args[1:]) if len(args) > 2 else args
    return reduce_rows(
        func, args, kwargs, named(several, kwargs, "input dim"), lambda asked: asked.total(asked.own != 0)
    )


@meaning("var std var_mean std_mean", enters=False)
def _variance(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    short = len(args) > 1 and isinstance(args[1], bool)  # var(x, unbiased)
    given = named(args, kwargs, "input unbiased" if short else "input dim unbiased keepdim")
    return reduce_rows(func, args, kwargs, given, _around_mean, lambda one: func(one, correction=0))


def _around_mean(asked: Reduction) -> Any:
    """Around the mean as a mere number, corrected by the sum of what is left, which is about 0 but has a gradient.

    For every ``c``, the sum of ``(x - mean)²`` is that of ``(x - c)²`` less ``(sum of x - c)² / count``. So the formula
    is exact to any order, and the mean need not meet the rows again, which would cost a sum in backward.
    """
    name, own, count = name_of(asked.func), asked.own, asked.count
    correction = asked.given.get("correction")
    if correction is None:
        correction = 0 if asked.given.get("unbiased") is False else 1
    shift = torch.zeros((), dtype=own.dtype, device=own.device)
    for _ in range(2):  # again, so that the mean of equal numbers is that number, and their deviation 0
        shift = shift + asked.view.sum((own.detach() - shift).sum(asked.dims, keepdim=True)) / count
    rest = own - shift
    sums = torch.stack([part.sum(asked.dims, keepdim=asked.keepdim) for part in (rest, rest * rest.conj())])
    first, second = sum_over_ranks(sums, asked.view).unbind(0)
    squares = second - first * first.conj() / count
    squares = (squares.real if squares.is_complex() else squares).clamp(min=0)
    spread = squares / max(count - correction, 0)
    out = power(spread, 0.5) if name.startswith("std") else spread
    return (out, asked.kept(shift) + first / count) if name.endswith("mean") else out


def power(x: Tensor, p: float) -> Tensor:
    """``x ** p`` of what is not negative, whose gradient at 0 is 0, as of torch's ``std`` and norms."""
    zero = x == 0
    return torch.where(zero, 0, torch.where(zero, 1, x) ** p)


# -- the largest and smallest, and where they are; NaN counts as both, as in torch


def extreme(asked: Reduction, *, largest: bool) -> Tensor:
    """The largest or smallest of all rows; dimensions are kept, and there is no gradient. Collective."""
    own = _not_empty(asked.own.detach(), asked.row_dim, neutral(asked.own, largest=largest))
    return over_ranks((torch.amax if largest else torch.amin)(own, asked.dims, True), asked.view, largest=largest)


def over_ranks(part: Tensor, view: View, *, largest: bool) -> Tensor:
    """The largest or smallest of all ranks' parts, entry by entry; NaN where one is. Collective."""
    if not part.is_floating_point():
        return view.max(part) if largest else view.min(part)
    nan = part.isnan()  # which backends do not promise to keep
    sign = 1 if largest else -1
    both = torch.stack([torch.where(nan, -math.inf, sign * part), nan.to(part.dtype)])
    value, any_nan = view.max(both).unbind(0)
    return torch.where(any_nan > 0, math.nan, sign * value)


def neutral(x: Tensor, *, largest: bool) -> float | bool:
    """What is never larger, or never smaller, than another number of this dtype."""
    if x.dtype.is_floating_point:
        return -math.inf if largest else math.inf
    if x.dtype == torch.bool:
        return not largest
    return torch.iinfo(x.dtype).min if largest else torch.iinfo(x.dtype).max


def _not_empty(x: Tensor, row_dim: int, filler: float | bool) -> Tensor:
    return x if x.shape[row_dim] else with_more(x, row_dim, 1, filler)


def _needs_gradient(x: Tensor) -> bool:
    return x.requires_grad and torch.is_grad_enabled()


def shared_extreme(asked: Reduction, *, largest: bool, nan_is_one: bool = False) -> Tensor:
    """The extreme of all rows, whose gradient equals share evenly. Collective.

    If ``nan_is_one``, a NaN that is the result has a gradient like any other; else all have NaN.
    """
    value, own = extreme(asked, largest=largest), asked.own
    if not _needs_gradient(own):
        return asked.kept(value)
    equal = _is_it(own, value) if nan_is_one else own.detach() == value
    return with_gradient_of(asked.kept(value), asked.total(own * equal) / asked.total(equal))


def _is_it(own: Tensor, value: Tensor) -> Tensor:
    """Where own entries are the value, also if it is NaN."""
    own = own.detach()
    return (own == value) | (own.isnan() & value.isnan()) if own.is_floating_point() else own == value


reduction("amax amin")(lambda asked: shared_extreme(asked, largest=name_of(asked.func) == "amax"))
reduction("aminmax", "input")(lambda asked: [shared_extreme(asked, largest=largest) for largest in (False, True)])


@meaning("max min")
def _max(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Of two tensors, of all entries, or along a dimension: three functions of one name."""
    given = named(args, kwargs, "input dim keepdim")
    if isinstance(given.get("dim"), Tensor) or "other" in given:
        args, kwargs, space, right = broadcast(func, args, kwargs)
        return wrapped(func(*args, **kwargs), space, -right)
    return reduce_rows(func, args, kwargs, given, _max_of_all if given.get("dim") is None else _max_along)


def _max_of_all(asked: Reduction) -> Tensor:
    return shared_extreme(asked, largest=name_of(asked.func) == "max", nan_is_one=True)


def _max_along(asked: Reduction) -> Any:
    value = extreme(asked, largest=name_of(asked.func) == "max")
    index, out = _first_position(asked, value), asked.kept(value)
    if _needs_gradient(asked.own):
        out = with_gradient_of(out, asked.total(asked.own * (_places(asked, asked.row_dim, 1) == index)))
    return out, asked.kept(index)


@reduction("argmax argmin")
def _argmax(asked: Reduction) -> Tensor:
    return asked.kept(_first_position(asked, extreme(asked, largest=name_of(asked.func) == "argmax")))


def _first_position(asked: Reduction, value: Tensor) -> Tensor:
    """Where ``value`` is first: a position among the rows, or, over several dimensions, among all entries."""
    places, stride = torch.zeros((), dtype=torch.int64, device=value.device), 1
    for dim in reversed(asked.dims):
        places = places + _places(asked, dim, stride)
        stride *= asked.space.num_rows if dim == asked.row_dim else asked.own.shape[dim]
    nowhere = torch.iinfo(torch.int64).max
    found = _not_empty(torch.where(_is_it(asked.own, value), places, nowhere), asked.row_dim, nowhere)
    return asked.view.min(found.amin(asked.dims, keepdim=True))


def _places(asked: Reduction, dim: int, stride: int) -> Tensor:
    """Where own entries are along one dimension of the whole graph's tensor, shaped to stand beside them."""
    own = asked.own
    along = asked.space.positions if dim == asked.row_dim else torch.arange(own.shape[dim], device=own.device)
    return (along * stride).view([-1 if each == dim else 1 for each in range(own.dim())])

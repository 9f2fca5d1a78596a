"""Reductions: along columns each row for itself, along rows over all ranks, exactly and differentiable to any order.

Own rows are reduced first, so that only results travel. Halves are added up in single precision, as torch does within
one process.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from fullgraph.rows.adjoints import sum_over_ranks
from fullgraph.rows.alignment import wrapped_at
from fullgraph.rows.arguments import dims_of, named, rows_among
from fullgraph.rows.space import Space
from fullgraph.rows.table import composite, meaning, name_of, refuse
from fullgraph.rows.tensor import local
from fullgraph.rows.view import View


@dataclass(frozen=True, kw_only=True)
class Reduction:
    """What a reduction over rows is asked for.

    Attributes:
        own: this rank's rows, a plain tensor.
        space: of which rows.
        row_dim: the dimension that the rows are.
        dims: the dimensions that are reduced, ``row_dim`` among them, counted from 0.
        keepdim: whether they stay, with size 1.
        given: all arguments, by name.
        on_own: does the function to own rows alone, where that says what is wrong with the arguments.
    """

    own: Tensor
    space: Space
    row_dim: int
    dims: tuple[int, ...]
    keepdim: bool
    given: dict[str, Any]
    on_own: Callable[[], Any]

    @property
    def view(self) -> View:
        """The ranks."""
        return self.space.view

    @property
    def count(self) -> int:
        """How many entries each result is made of."""
        return math.prod(self.space.num_rows if dim == self.row_dim else self.own.shape[dim] for dim in self.dims)

    def total(self, x: Tensor) -> Tensor:
        """The sum of ``x``, entries of own rows, over all rows."""
        return added(x.sum(self.dims, keepdim=self.keepdim), self.view)

    def kept(self, out: Tensor) -> Tensor:
        """A result that has kept its dimensions, without them if it shall not."""
        return out if self.keepdim else out.squeeze(self.dims)

    def as_torch(self, out: Tensor, function: Callable[[Tensor], Tensor]) -> Tensor:
        """``out`` in the dtype that torch gives: of halves autocast decides, else of ``out``."""
        dtype = self.given.get("dtype")
        if dtype is None and is_half(self.own):
            dtype = function(self.own.new_zeros(1)).dtype
        return out if dtype is None else out.to(dtype)


OverRows = Callable[[Any, Reduction], Any]


def reduction(names: str, signature: str = "input dim keepdim") -> Callable[[OverRows], OverRows]:
    """Register ``(func, reduction)`` for when rows are reduced and lie on several ranks."""

    def register(over_rows: OverRows) -> OverRows:
        @meaning(names, enters=False)
        def _reduce(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
            return reduce_rows(func, args, kwargs, named(args, kwargs, signature), over_rows)

        return over_rows

    return register


def reduce_rows(func: Any, args: Any, kwargs: Any, given: dict[str, Any], over_rows: OverRows) -> Any:
    """Reduce each row for itself, or all rows; ``given`` are the arguments by name.

    One rank that has all rows, and rows of which there are none, need nobody else: torch itself is asked.
    """
    x = rows_among(func, given)
    space, row_dim, keepdim = x._space, x._dim, bool(given.get("keepdim", False))
    dims = dims_of(x, given.get("dim"))
    if row_dim not in dims and dims:
        after = row_dim if keepdim else row_dim - sum(dim < row_dim for dim in dims)
        return wrapped_at(func(*args, **kwargs), space, after)
    if not dims and name_of(func) in ("all", "any"):
        return wrapped_at(func(*args, **kwargs), space, row_dim)  # which reduce nothing then; others everything
    space.view.check()
    if space.view.is_alone or space.num_rows == 0:
        return func(*args, **kwargs)
    asked = Reduction(
        own=local(x),
        space=space,
        row_dim=row_dim,
        dims=dims or dims_of(x, None),
        keepdim=keepdim,
        given=given,
        on_own=lambda: func(*args, **kwargs),
    )
    return over_rows(func, asked)


def is_half(x: Tensor) -> bool:
    """Whether ``x`` is of half precision, of either kind."""
    return x.dtype in (torch.float16, torch.bfloat16)


def wide(x: Tensor) -> Tensor:
    """``x``, halves in single precision."""
    return x.float() if is_half(x) else x


def is_continuous(dtype: torch.dtype) -> bool:
    """Whether numbers of this dtype are real or complex, not integers or bools."""
    return dtype.is_floating_point or dtype.is_complex


def added(part: Tensor, view: View) -> Tensor:
    """The sum of all ranks' parts, differentiable where they are."""
    return sum_over_ranks(part, view) if is_continuous(part.dtype) else view.sum(part)


def wrong_for_torch(func: Any, asked: Reduction) -> Any:
    """Raise what torch says of arguments that it does not take."""
    asked.on_own()
    refuse(func, "of such rows")


@reduction("sum nansum")
def _sum(func: Any, asked: Reduction) -> Tensor:
    add, dtype = torch.nansum if name_of(func) == "nansum" else torch.sum, asked.given.get("dtype")
    own = asked.own if dtype is None else asked.own.to(dtype)
    within = None if is_half(own) else dtype
    part = add(wide(own), asked.dims, keepdim=asked.keepdim, dtype=within)
    return asked.as_torch(added(part, asked.view), add)


@reduction("mean")
def _mean(func: Any, asked: Reduction) -> Tensor:
    dtype = asked.given.get("dtype") or asked.own.dtype
    if not is_continuous(dtype):
        return wrong_for_torch(func, asked)
    return asked.as_torch(asked.total(wide(asked.own.to(dtype))) / asked.count, torch.mean)


@reduction("all any")
def _all_or_any(func: Any, asked: Reduction) -> Tensor:
    if name_of(func) == "all":
        return asked.view.min(torch.all(asked.own, asked.dims, keepdim=asked.keepdim))
    return asked.view.max(torch.any(asked.own, asked.dims, keepdim=asked.keepdim))


@composite("_is_all_true")
def _is_all_true(input: Tensor) -> Tensor:
    return input.all()


@composite("_is_any_true")
def _is_any_true(input: Tensor) -> Tensor:
    return input.any()


def _count_nonzero(func: Any, asked: Reduction) -> Tensor:
    return asked.view.sum(torch.count_nonzero(asked.own, asked.dims))


@meaning("count_nonzero", enters=False)
def _reduce_count(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    several = (args[0], args[1:]) if len(args) > 2 else args
    return reduce_rows(func, args, kwargs, named(several, kwargs, "input dim"), _count_nonzero)


def _variance(func: Any, asked: Reduction) -> Any:
    """Around the mean as a mere number, corrected by the sum of what is left, which is about 0 but has a gradient.

    For every ``c``, the sum of ``(x - mean)²`` is that of ``(x - c)²`` less ``(sum of x - c)² / count``. So the formula
    is exact to any order, and the mean need not meet the rows again, which would cost a sum in backward.
    """
    name, view, count = name_of(func), asked.view, asked.count
    if not is_continuous(asked.own.dtype):
        return wrong_for_torch(func, asked)
    own = wide(asked.own)
    shift = torch.zeros((), dtype=own.dtype, device=own.device)
    for _ in range(2):  # again, so that the mean of equal numbers is that number, and their deviation 0
        shift = shift + view.sum((own.detach() - shift).sum(asked.dims, keepdim=True)) / count
    rest = own - shift
    sums = torch.stack([part.sum(asked.dims, keepdim=asked.keepdim) for part in (rest, rest * rest.conj())])
    first, second = sum_over_ranks(sums, view).unbind(0)
    squares = second - first * first.conj() / count
    squares = (squares.real if squares.is_complex() else squares).clamp(min=0)
    spread = squares / max(count - _correction(asked.given), 0)
    out = asked.as_torch(root(spread) if name.startswith("std") else spread, torch.mean)
    if not name.endswith("mean"):
        return out
    return out, asked.as_torch(asked.kept(shift) + first / count, torch.mean)


def root(x: Tensor) -> Tensor:
    """The square root, whose gradient at 0 is 0, as of torch's ``std`` and ``norm``."""
    zero = x == 0
    return torch.where(zero, 0, torch.where(zero, 1, x).sqrt())


def _correction(given: dict[str, Any]) -> float:
    correction, unbiased = given.get("correction"), given.get("unbiased")
    if correction is None:
        return 0 if unbiased is False else 1
    return correction


@meaning("var std var_mean std_mean", enters=False)
def _reduce_variance(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    short = len(args) > 1 and isinstance(args[1], bool)  # var(x, unbiased)
    given = named(args, kwargs, "input unbiased" if short else "input dim unbiased keepdim")
    return reduce_rows(func, args, kwargs, given, _variance)

"""The largest and smallest of rows and where they are; NaN counts as both, as in torch.

Ranks exchange the extremes of their own rows, and the first position of each. Gradients go where torch lets them go:
shared evenly among equals (``amax``, ``x.max()``), or to the one entry whose index is given (``x.max(dim)``).
"""

import math
from typing import Any

import torch
from torch import Tensor

from fullgraph.rows.adjoints import enter
from fullgraph.rows.alignment import broadcast, wrapped
from fullgraph.rows.arguments import named
from fullgraph.rows.reductions import Reduction, reduce_rows, reduction
from fullgraph.rows.table import meaning, name_of
from fullgraph.rows.view import View


def extreme(own: Tensor, row_dim: int, dims: tuple[int, ...], view: View, *, largest: bool) -> Tensor:
    """The largest or smallest of all rows; dimensions are kept, and there is no gradient. Collective."""
    own = own.detach()
    find = torch.amax if largest else torch.amin
    part = find(_not_empty(own, row_dim, neutral(own, largest=largest)), dims, keepdim=True)
    return over_ranks(part, view, largest=largest)


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
    """``x``, or one row of ``filler`` where this rank has none."""
    if x.shape[row_dim]:
        return x
    return x.new_full([1 if dim == row_dim else size for dim, size in enumerate(x.shape)], filler)


class _Chosen(torch.autograd.Function):
    """A known value, whose gradient goes to own rows by ``weights``; over all ranks they add up to 1."""

    @staticmethod
    def forward(ctx: Any, own: Tensor, value: Tensor, weights: Tensor, view: View) -> Tensor:
        ctx.save_for_backward(weights)
        ctx.view = view
        return value.clone()

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        (weights,) = ctx.saved_tensors
        grad = enter([grads[0]], ctx.view)[0] if grads[0].requires_grad else grads[0]
        return grad * weights, None, None, None


def _needs_gradient(x: Tensor) -> bool:
    return x.requires_grad and torch.is_grad_enabled()


def shared_extreme(own: Tensor, asked: Reduction, *, largest: bool, nan_is_one: bool = False) -> Tensor:
    """The extreme of all rows, whose gradient equals share evenly. Collective.

    Args:
        own: entries of own rows.
        asked: over what.
        largest: which extreme.
        nan_is_one: whether a NaN that is the result has a gradient like any other; else all have NaN.
    """
    value = extreme(own, asked.row_dim, asked.dims, asked.view, largest=largest)
    if _needs_gradient(own):
        equal = own.detach() == value
        if nan_is_one:
            equal |= own.isnan() & value.isnan()
        number = asked.view.sum(equal.sum(asked.dims, keepdim=True))
        value = _Chosen.apply(own, value, equal.to(own.dtype) / number, asked.view)
    return asked.kept(value)  # pyright: ignore[reportArgumentType]


@reduction("amax amin")
def _amax(func: Any, asked: Reduction) -> Tensor:
    return shared_extreme(asked.own, asked, largest=name_of(func) == "amax")


@reduction("aminmax", "input")
def _aminmax(func: Any, asked: Reduction) -> Any:
    ends = [shared_extreme(asked.own, asked, largest=largest) for largest in (False, True)]
    return torch.return_types.aminmax(ends)  # pyright: ignore[reportArgumentType, reportAttributeAccessIssue]


@meaning("max min")
def _max(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Of two tensors, of all entries, or along a dimension: three functions of one name."""
    given = named(args, kwargs, "input dim keepdim")
    if isinstance(given.get("dim"), Tensor) or "other" in given:
        args, kwargs, space, right = broadcast(func, args, kwargs)
        return wrapped(func(*args, **kwargs), space, right)
    return reduce_rows(func, args, kwargs, given, _max_of_all if given.get("dim") is None else _max_along)


def _max_of_all(func: Any, asked: Reduction) -> Tensor:
    return shared_extreme(asked.own, asked, largest=name_of(func) == "max", nan_is_one=True)


def _max_along(func: Any, asked: Reduction) -> Any:
    name, own, view = name_of(func), asked.own, asked.view
    value = extreme(own, asked.row_dim, asked.dims, view, largest=name == "max")
    index = _first_position(asked, value)
    if _needs_gradient(own):
        chosen = _places(asked, asked.row_dim, 1) == index
        value = _Chosen.apply(own, value, chosen.to(own.dtype), view)
    return getattr(torch.return_types, name)([asked.kept(value), asked.kept(index)])  # pyright: ignore[reportArgumentType]


@reduction("argmax argmin")
def _argmax(func: Any, asked: Reduction) -> Tensor:
    find = torch.argmax if name_of(func) == "argmax" else torch.argmin
    find(asked.own.new_zeros(1))  # says which dtypes it does not take
    value = extreme(asked.own, asked.row_dim, asked.dims, asked.view, largest=name_of(func) == "argmax")
    return asked.kept(_first_position(asked, value))


def _first_position(asked: Reduction, value: Tensor) -> Tensor:
    """Where ``value`` is first: a position among the rows, or, over several dimensions, among all entries."""
    own = asked.own.detach()
    equal = own == value
    if own.is_floating_point():
        equal |= own.isnan() & value.isnan()
    places, stride = torch.zeros((), dtype=torch.int64, device=own.device), 1
    for dim in reversed(asked.dims):
        places = places + _places(asked, dim, stride)
        stride *= asked.space.num_rows if dim == asked.row_dim else own.shape[dim]
    nowhere = torch.iinfo(torch.int64).max
    found = _not_empty(torch.where(equal, places, nowhere), asked.row_dim, nowhere)
    return asked.view.min(found.amin(asked.dims, keepdim=True))


def _places(asked: Reduction, dim: int, stride: int) -> Tensor:
    """Where own entries are along one dimension of the whole graph's tensor, shaped to stand beside them."""
    own = asked.own
    along = asked.space.positions if dim == asked.row_dim else torch.arange(own.shape[dim], device=own.device)
    return (along * stride).view([-1 if each == dim else 1 for each in range(own.dim())])

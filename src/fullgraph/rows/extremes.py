"""The largest and smallest of rows and where they are; NaN counts as both, as in torch.

Ranks exchange the extremes of their own rows, and the first position of each. Gradients go where torch lets them go:
shared evenly among equals (``amax``, ``x.max()``), or to the one entry whose index is given (``x.max(dim)``).
"""

import math
from typing import Any

import torch
from torch import Tensor

from fullgraph.rows.adjoints import with_gradient_of
from fullgraph.rows.alignment import broadcast, with_more, wrapped
from fullgraph.rows.reductions import Reduction, reduce_rows, reduction
from fullgraph.rows.table import meaning, name_of, named
from fullgraph.rows.view import View


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


@reduction("amax amin")
def _amax(asked: Reduction) -> Tensor:
    return shared_extreme(asked, largest=name_of(asked.func) == "amax")


@reduction("aminmax", "input")
def _aminmax(asked: Reduction) -> Any:
    return [shared_extreme(asked, largest=largest) for largest in (False, True)]


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

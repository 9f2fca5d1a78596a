"""Functions of one dimension: along columns each row for itself, along rows of all rows, gathered.

Along rows they need the order of one process (a running sum) or of the values (a median), which the rows of a rank do
not have. So all rows come to every rank, where torch itself gives what it gives: it costs as much memory as one process
needs for this tensor, on every rank. What has an entry for each row is dealt out again; what is a new list (sorted
rows, the largest ones) is the same on every rank.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from fullgraph.rows.alignment import at_rows, wrapped_at, wrapped_each
from fullgraph.rows.arguments import dims_of, named, rows_among
from fullgraph.rows.gathering import distribute, gather
from fullgraph.rows.table import entered, mapped, meaning, name_of, refuse
from fullgraph.rows.tensor import Rows, local, rows

Dims = Callable[[Rows, dict[str, Any]], tuple[int, ...]]


def _along(default: int | None, name: str = "dim") -> Dims:
    """The dimensions that an argument names; None stands for all."""
    return lambda x, given: dims_of(x, given.get(name, default))


def _first_or_second(number: int) -> Dims:
    """One dimension, of what has at least two."""
    return lambda x, given: (number if x.dim() > 1 else 0,)


_NOT = (None, (), [])  # rolled as one list of all entries

_EACH_ROW: dict[str, tuple[str, Dims]] = {
    "flip": ("input dims", _along(None, "dims")),
    "fliplr": ("input", _first_or_second(1)),
    "flipud": ("input", _first_or_second(0)),
    "roll": ("input shifts dims", lambda x, given: dims_of(x, None if given.get("dims") in _NOT else given["dims"])),
    **dict.fromkeys(["cumsum", "cumprod", "logcumsumexp", "cummax", "cummin"], ("input dim", _along(None))),
}
"""What has an entry for each row: the signature, and which dimensions the function runs along."""

_NEW_LIST: dict[str, tuple[str, Dims]] = {
    "sort": ("input dim", _along(-1)),
    "argsort": ("input dim", _along(-1)),
    "msort": ("input", _along(0)),
    "topk": ("input k dim", _along(-1)),
    "kthvalue": ("input k dim", _along(-1)),
    "mode": ("input dim", _along(-1)),
    "median": ("input dim", _along(None)),
    "nanmedian": ("input dim", _along(None)),
    "quantile": ("input q dim", _along(None)),
    "nanquantile": ("input q dim", _along(None)),
}
"""What is a new list of rows, or one row."""


@meaning(" ".join(_EACH_ROW), enters=False)
def _each_row(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    signature, dims = _EACH_ROW[name_of(func)]
    if name_of(func) == "flip" and len(args) > 2:  # x.flip(0, 1)
        args = (args[0], args[1:])
    given = named(args, kwargs, signature)
    x = rows_among(func, given)
    if x._dim in dims(x, given):
        return _distributed(_of_all_rows(func, args, kwargs), x)
    return _of_each_row(func, args, kwargs, x, lambda out: x._dim)


def _of_each_row(func: Any, args: Any, kwargs: Any, x: Rows, dim: Callable[[Tensor], int]) -> Any:
    """The function of own rows alone; ``dim`` says which dimension of a result the rows are."""
    args, kwargs = entered(args, kwargs)
    num_own = local(x).shape[x._dim]
    if local(x).numel() > 1 or x._space.num_rows == 0 or name_of(func) not in _NOT_OF_FEW:
        return wrapped_each(func(*args, **kwargs), x._space, dim)
    few = local(x)
    more = torch.cat([few, few.new_ones([2 if d == x._dim else n for d, n in enumerate(few.shape)])], x._dim)
    args, kwargs = mapped((args, kwargs), lambda each: more if each is x else each)
    out = func(*args, **kwargs)
    return rows(out.narrow(dim(out), 0, num_own), x._space, dim(out))


_NOT_OF_FEW = ("cumprod", "logcumsumexp", "quantile", "nanquantile")
"""What torch refuses of no entries, or gives no second derivative of one: what a rank has may be so few, so that ranks
would disagree."""


def _distributed(out: Any, like: Rows) -> Any:
    if isinstance(out, Tensor):
        return distribute(out, like._space, like._dim)
    return type(out)([distribute(each, like._space, like._dim) for each in out])


@meaning(" ".join(_NEW_LIST), enters=False)
def _new_list(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    signature, dims = _NEW_LIST[name_of(func)]
    given = named(args, kwargs, signature)
    x, q = rows_among(func, given), given.get("q")
    if isinstance(q, Rows):
        refuse(func, "takes quantiles that every rank has")
    along = dims(x, given)
    if x._dim in along:
        return _of_all_rows(func, args, kwargs)
    first = q.dim() if isinstance(q, Tensor) else 0
    from_right = x.dim() - x._dim
    before = min(along) < x._dim
    return _of_each_row(func, args, kwargs, x, lambda out: out.dim() - from_right if before else x._dim + first)


@meaning("diff", enters=False)
def _diff(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    return _of_neighbours(func, args, kwargs, named(args, kwargs, "input n dim prepend append"))


@meaning("trapezoid trapz cumulative_trapezoid", enters=False)
def _trapezoid(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    names = ("input", "abscissa")
    given = {**dict(zip(names, args, strict=False)), **kwargs}
    given = {{"y": "input", "x": "abscissa", "axis": "dim"}.get(name, name): value for name, value in given.items()}
    abscissa = given.get("abscissa")
    if isinstance(abscissa, Tensor) and abscissa.dim() > 1 and 1 in abscissa.shape:
        refuse(func, "of an abscissa that is the same for all rows or columns")
    return _of_neighbours(func, args, kwargs, given)


def _of_neighbours(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], given: dict[str, Any]) -> Any:
    """Of neighbours along a dimension: a new list, which may need more tensors than one."""
    x = rows_among(func, given)
    (dim,) = dims_of(x, given.get("dim", -1))
    if dim == x._dim:
        return _of_all_rows(func, args, kwargs)
    args, kwargs = entered(args, kwargs)

    def cut(other: Tensor) -> Tensor:
        if other is x:
            return local(x)
        if not isinstance(other, Rows) and other.dim() == 1 and x.dim() > 1:
            return other  # along the columns
        if other.dim() != x.dim():
            refuse(func, "of tensors with different numbers of dimensions")
        return at_rows(func, other, x._space, x._dim)

    out = func(*mapped(args, cut), **mapped(kwargs, cut))
    return wrapped_at(out, x._space, x._dim - (out.dim() < x.dim() and dim < x._dim))


def _of_all_rows(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """What torch gives of all rows, on every rank."""
    return func(*mapped(args, gather), **mapped(kwargs, gather))

"""Functions along dimensions: where these are none of rows each row for itself, else of all rows, or refused.

Along rows a function may need the order of one process (a running sum) or of the values (a median), which the rows of a
rank do not have. So all rows come to every rank, where torch itself gives what it gives: it costs as much memory as one
process needs for this tensor, on every rank. What has an entry for each row is dealt out again; what is a new list
(sorted rows, the largest ones) is the same on every rank. Functions that lead to the sums of training are not here:
`rows.reductions`, of which only results travel.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from fullgraph.rows.alignment import wrapped_each
from fullgraph.rows.arguments import dims_of, named, rows_among
from fullgraph.rows.gathering import distribute, gather
from fullgraph.rows.table import entered, mapped, meaning, name_of, refuse, tensors_in
from fullgraph.rows.tensor import Rows, local, rows

Dims = Callable[[Rows, dict[str, Any]], tuple[int, ...]]


def _along(default: int | None, name: str = "dim") -> Dims:
    """The dimensions that an argument names; None and no dimension stand for all."""

    def dims(x: Rows, given: dict[str, Any]) -> tuple[int, ...]:
        asked = given.get(name, default)
        return dims_of(x, None if asked in (None, (), []) else asked)

    return dims


def _last(count: Callable[[dict[str, Any]], int]) -> Dims:
    """So many of the last dimensions."""
    return lambda x, given: tuple(range(x.dim() - count(given), x.dim()))


def _but_first(x: Rows, given: dict[str, Any]) -> tuple[int, ...]:
    return tuple(range(1, x.dim()))


def _of_instances(x: Rows, given: dict[str, Any]) -> tuple[int, ...]:
    """Running statistics are moved by the mean over all instances."""
    return dims_of(x, None) if given["moves"] and given["running_mean"] is not None else _but_first(x, given)


def _but_along(x: Rows, given: dict[str, Any]) -> tuple[int, ...]:
    return tuple(dim for dim in range(x.dim()) if (dim,) != dims_of(x, given["dim"]))


def _images(num_spatial: int) -> Dims:
    """Of a batch ``[N, C, …]`` all but the first; without a batch, the first dimension would be channels: all."""
    return lambda x, given: tuple(range(x.dim() == num_spatial + 2, x.dim()))


def _of_images() -> dict[str, "Along"]:
    each = "conv{}d conv_transpose{}d avg_pool{}d max_pool{}d max_pool{}d_with_indices adaptive_avg_pool{}d"
    each += " adaptive_max_pool{}d adaptive_max_pool{}d_with_indices lp_pool{}d"
    return {name.format(n): Along("input", _images(n), of_few=True) for n in (1, 2, 3) for name in each.split()}


def _of_searched(x: Rows, given: dict[str, Any]) -> tuple[int, ...]:
    """Lists of more than one dimension have one for each row."""
    return dims_of(x, None) if given["sorted_sequence"].dim() > 1 else ()


def _distributed(out: Any, x: Rows) -> Any:
    """An entry for each row, dealt out."""
    if isinstance(out, Tensor):
        return distribute(out, x._space, x._dim)
    return type(out)([distribute(each, x._space, x._dim) for each in out])


def _new(out: Any, x: Rows) -> Any:
    """A new list of rows, or one row, on every rank."""
    return out


class Along(NamedTuple):
    """How a function takes rows.

    Attributes:
        signature: the names of its arguments, as far as they are needed; ``input`` are the rows, and only this.
        dims: which dimensions it runs along.
        of_all: what is made of the result of all rows, where it runs along these; None if that is refused.
        of_few: whether torch refuses no entries, makes another graph of them, or gives no second derivative of one: a
            rank may have so few, so that ranks would disagree.
    """

    signature: str
    dims: Dims
    of_all: Callable[[Any, Rows], Any] | None = None
    of_few: bool = False


_TABLE = {
    "flip": Along("input dims", lambda x, given: dims_of(x, given["dims"]), _distributed),
    "fliplr": Along("input", lambda x, given: (min(1, x.dim() - 1),), _distributed),
    "flipud": Along("input", lambda x, given: (0,), _distributed),
    "roll": Along("input shifts dims", _along(None, "dims"), _distributed),
    **dict.fromkeys(["cumsum", "cummax", "cummin"], Along("input dim", _along(None), _distributed)),
    **dict.fromkeys(["cumprod", "logcumsumexp"], Along("input dim", _along(None), _distributed, of_few=True)),
    **dict.fromkeys(["sort", "argsort"], Along("input dim", _along(-1), _new)),
    **dict.fromkeys(["topk", "kthvalue"], Along("input k dim", _along(-1), _new)),
    **dict.fromkeys(["median", "nanmedian", "nanmean", "prod"], Along("input dim", _along(None), _new)),
    **dict.fromkeys(["quantile", "nanquantile"], Along("input q dim", _along(None), _new, of_few=True)),
    "msort": Along("input", _along(0), _new),
    "mode": Along("input dim", _along(-1), _new),
    "diff": Along("input n dim", _along(-1), _new),
    "histc": Along("input", _along(None), _new),
    "unbind": Along("input dim", _along(0)),
    "glu": Along("input dim", _along(-1)),
    "renorm": Along("input p dim", _but_along),
    "view_as_real": Along("input", _last(lambda given: 0)),
    "view_as_complex": Along("input", _last(lambda given: 1)),
    "bucketize": Along("input", _last(lambda given: 0)),
    "searchsorted": Along("sorted_sequence input", _of_searched),
    **dict.fromkeys(
        ["layer_norm", "rms_norm"], Along("input normalized_shape", _last(lambda given: len(given["normalized_shape"])))
    ),
    "group_norm": Along("input", _but_first, of_few=True),
    "instance_norm": Along(
        "input weight bias running_mean running_var moves", _of_instances, _distributed, of_few=True
    ),
    **_of_images(),
}


def _into(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """All rows' result into tensors that every rank has."""
    if any(isinstance(each, Rows) for each in tensors_in(kwargs["out"])):
        refuse(func, "does not write results of rows into rows by out=")
    return func(*mapped(args, gather), **mapped(kwargs, gather))


@meaning(" ".join(_TABLE), enters=False, out=True)
def _run(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    known = _TABLE[name_of(func)]
    if kwargs.get("out") is not None:
        return _into(func, args, kwargs)
    if name_of(func) == "flip" and len(args) > 2:  # x.flip(0, 1)
        args = (args[0], args[1:])
    given = named(args, kwargs, known.signature)
    x = rows_among(func, given)
    along = known.dims(x, given)
    if x._dim in along and known.of_all is not None:
        return known.of_all(func(*mapped(args, gather), **mapped(kwargs, gather)), x)
    if x._dim in along:
        refuse(func, "would run along the rows")
    if sum(isinstance(each, Rows) for each in tensors_in((args, kwargs))) > 1:
        refuse(func, "takes rows only as its input")
    q = given.get("q")
    before, new = sum(dim < x._dim for dim in along), q.dim() if isinstance(q, Tensor) else 0

    def row_dim(out: Tensor) -> int:
        return x._dim + new - (before if out.dim() < x.dim() + new else 0)

    args, kwargs = entered(args, kwargs)
    own = local(x)
    if not known.of_few or own.numel() > 1 or x._space.num_rows == 0:
        return wrapped_each(func(*args, **kwargs), x._space, row_dim)
    shape = [2 if dim == x._dim else size for dim, size in enumerate(own.shape)]
    more = torch.cat([own, own.new_ones(shape)], x._dim)
    args, kwargs = mapped((args, kwargs), lambda each: more if each is x else each)
    num_own = own.shape[x._dim]
    return mapped(func(*args, **kwargs), lambda out: rows(out.narrow(row_dim(out), 0, num_own), x._space, row_dim(out)))

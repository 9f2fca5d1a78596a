"""Functions along dimensions: where these are none of rows each row for itself, else of all rows, or refused.

Along rows a function may need the order of one process (a running sum) or of the values (a median), which the rows of a
rank do not have. So all rows come to every rank, where torch itself gives what it gives: it costs as much memory as one
process needs for this tensor, on every rank. What has an entry for each row is dealt out again; what is a new list
(sorted rows, the largest ones) is the same on every rank. Functions that lead to the sums of training are not here:
`rows.reductions`, of which only results travel.
"""

from collections.abc import Callable, Collection
from typing import Any, NamedTuple

from torch import Tensor

from fullgraph.rows.adjoints import distribute, gather
from fullgraph.rows.alignment import with_more
from fullgraph.rows.calls import dims_of, mapped, name_of, named, refuse, rows_only, tensors_in
from fullgraph.rows.table import entered, meaning
from fullgraph.rows.tensor import Rows, local, rows

Dims = Callable[[Rows, dict[str, Any]], Collection[int]]


def _along(default: int | None, name: str = "dim") -> Dims:
    """The dimensions that an argument names; None and no dimension stand for all."""

    def dims(x: Rows, given: dict[str, Any]) -> tuple[int, ...]:
        asked = given.get(name, default)
        return dims_of(x, None if asked in (None, (), []) else asked)

    return dims


def _of_instances(x: Rows, given: dict[str, Any]) -> Collection[int]:
    """Running statistics are moved by the mean over all instances."""
    return range(not (given["moves"] and given["running_mean"] is not None), x.dim())


def _images(num_spatial: int) -> Dims:
    """Of a batch ``[N, C, …]`` all but the first; without a batch, the first dimension would be channels: all."""
    return lambda x, given: range(x.dim() == num_spatial + 2, x.dim())


_OF_IMAGES = """conv{}d conv_transpose{}d avg_pool{}d max_pool{}d max_pool{}d_with_indices adaptive_avg_pool{}d
    adaptive_max_pool{}d adaptive_max_pool{}d_with_indices lp_pool{}d"""


def _of_searched(x: Rows, given: dict[str, Any]) -> tuple[int, ...]:
    """Lists of more than one dimension have one for each row."""
    return dims_of(x, None) if given["sorted_sequence"].dim() > 1 else ()


ROWS, LIST = "rows", "list"


class Along(NamedTuple):
    """How a function takes rows.

    Attributes:
        signature: the names of its arguments, as far as they are needed; ``input`` are the rows, and only this.
        dims: which dimensions it runs along.
        of_all: what the result of all rows is, where it runs along these: ROWS, which are dealt out, or a LIST, which
            every rank gets; None if that is refused.
        of_few: whether torch refuses no entries, makes another graph of them, or gives no second derivative of one: a
            rank may have so few, so that ranks would disagree.
    """

    signature: str
    dims: Dims
    of_all: str | None = None
    of_few: bool = False


_TABLE = {
    "flip": Along("input dims", lambda x, given: dims_of(x, given["dims"]), ROWS),
    "fliplr": Along("input", lambda x, given: (min(1, x.dim() - 1),), ROWS),
    "flipud": Along("input", lambda x, given: (0,), ROWS),
    "roll": Along("input shifts dims", _along(None, "dims"), ROWS),
    **dict.fromkeys(["cumsum", "cummax", "cummin"], Along("input dim", _along(None), ROWS)),
    **dict.fromkeys(["cumprod", "logcumsumexp"], Along("input dim", _along(None), ROWS, of_few=True)),
    **dict.fromkeys(["sort", "argsort"], Along("input dim", _along(-1), LIST)),
    **dict.fromkeys(["topk", "kthvalue"], Along("input k dim", _along(-1), LIST)),
    **dict.fromkeys(["median", "nanmedian", "nanmean", "prod"], Along("input dim", _along(None), LIST)),
    **dict.fromkeys(["quantile", "nanquantile"], Along("input q dim", _along(None), LIST, of_few=True)),
    "msort": Along("input", _along(0), LIST),
    "mode": Along("input dim", _along(-1), LIST),
    "diff": Along("input n dim", _along(-1), LIST),
    "histc": Along("input", _along(None), LIST),
    "unbind": Along("input dim", _along(0)),
    "glu": Along("input dim", _along(-1)),
    "renorm": Along("input p dim", lambda x, given: {*range(x.dim())} - {*dims_of(x, given["dim"])}),
    "view_as_real": Along("input", lambda x, given: ()),
    "view_as_complex": Along("input", lambda x, given: (x.dim() - 1,)),
    "bucketize": Along("input", lambda x, given: ()),
    "searchsorted": Along("sorted_sequence input", _of_searched),
    **dict.fromkeys(
        ["layer_norm", "rms_norm"],
        Along("input normalized_shape", lambda x, given: range(x.dim() - len(given["normalized_shape"]), x.dim())),
    ),
    "group_norm": Along("input", lambda x, given: range(1, x.dim()), of_few=True),
    "instance_norm": Along("input weight bias running_mean running_var moves", _of_instances, ROWS, of_few=True),
    **{name.format(n): Along("input", _images(n), of_few=True) for n in (1, 2, 3) for name in _OF_IMAGES.split()},
}


@meaning(" ".join(_TABLE), enters=False, out=True)
def _run(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    known = _TABLE[name_of(func)]
    if kwargs.get("out") is not None:  # all rows' result into tensors that every rank has
        if any(isinstance(each, Rows) for each in tensors_in(kwargs["out"])):
            refuse(func, "does not write results of rows into rows by out=")
        return func(*mapped(args, gather), **mapped(kwargs, gather))
    if name_of(func) == "flip" and len(args) > 2:  # x.flip(0, 1)
        args = (args[0], args[1:])
    given = named(args, kwargs, known.signature)
    x = rows_only(func, given.get("input"))
    along = known.dims(x, given)
    if x._dim in along and known.of_all is not None:
        out = func(*mapped(args, gather), **mapped(kwargs, gather))
        return mapped(out, lambda each: distribute(each, x._space, x._dim)) if known.of_all == ROWS else out
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
        return mapped(func(*args, **kwargs), lambda out: rows(out, x._space, row_dim(out)))
    more = with_more(own, x._dim, 2, 1)
    args, kwargs = mapped((args, kwargs), lambda each: more if each is x else each)
    num_own = own.shape[x._dim]
    return mapped(func(*args, **kwargs), lambda out: rows(out.narrow(row_dim(out), 0, num_own), x._space, row_dim(out)))

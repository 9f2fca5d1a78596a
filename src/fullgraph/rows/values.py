"""Functions of the values that rows hold, wherever they lie: which there are, and how many of each."""

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from fullgraph.rows.adjoints import distribute, gather
from fullgraph.rows.calls import name_of, named, refuse, rows_only
from fullgraph.rows.table import called, composite, meaning
from fullgraph.rows.tensor import Rows, functions_on, global_shape, local, rows
from fullgraph.rows.view import View


@meaning("unique unique_consecutive")
def _unique(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """The values, and how often each is there, on every rank; which of them each entry has, as `Rows`.

    Integers: each rank's own distinct values travel. Real numbers, where every NaN counts as another, and runs of equal
    neighbours: all rows are gathered.
    """
    consecutive = name_of(func) == "unique_consecutive"
    given = named(args, kwargs, "input return_inverse return_counts dim" if consecutive else _UNIQUE)
    x, dim = rows_only(func, given.get("input")), given.get("dim")
    if dim is not None and dim % x.dim() != x._dim:
        refuse(func, "of columns, which would be compared over rows")
    if consecutive or x.is_floating_point():
        found = _of_all(torch.unique_consecutive if consecutive else torch.unique, x, dim)
    else:
        found = _of_distinct(x, dim)
    wanted = (True, given.get("return_inverse", False), given.get("return_counts", False))
    out = tuple(part for part, is_wanted in zip(found, wanted, strict=True) if is_wanted)
    return out[0] if len(out) == 1 else out


_UNIQUE = "input sorted return_inverse return_counts dim"


def _of_all(find: Any, x: Rows, dim: int | None) -> tuple[Tensor, Tensor, Tensor]:
    values, inverse, counts = find(gather(x), return_inverse=True, return_counts=True, dim=dim)
    return values, distribute(inverse, x._space, x._dim if dim is None else 0), counts


def _of_distinct(x: Rows, dim: int | None) -> tuple[Tensor, Tensor, Tensor]:
    own, view = local(x), x._space.view
    entries = own.reshape(-1) if dim is None else own.movedim(x._dim, 0)
    values, inverse, counts = entries.unique(return_inverse=True, return_counts=True, dim=None if dim is None else 0)
    everyones, first = _together(values, view)
    values, place = everyones.unique(return_inverse=True, dim=None if dim is None else 0)
    counts = counts.new_zeros(len(values)).index_add(0, place, _together(counts, view)[0])
    inverse = place[first + inverse]
    if dim is None:
        return values, rows(inverse.view(own.shape), x._space, x._dim), counts
    return values.movedim(0, x._dim), rows(inverse, x._space, 0), counts


def _together(values: Tensor, view: View) -> tuple[Tensor, int]:
    """The entries of all ranks, one rank after another, and where this rank's begin. Collective."""
    sent = (values.to(torch.uint8) if values.dtype == torch.bool else values).contiguous()
    heard = view.swap([sent] * view.world.num_ranks)
    return torch.cat(heard).to(values.dtype), sum(len(part) for part in heard[: view.world.rank])


@called("isin")
def _isin(func: Any, elements: Any, test_elements: Any, **options: Any) -> Tensor:
    """Of other rows their distinct values, which then are on every rank."""
    if isinstance(test_elements, Rows):
        test_elements = _together(local(test_elements).detach().unique(), test_elements._space.view)[0]
    if not isinstance(elements, Rows):
        return torch.isin(elements, test_elements, **options)
    return rows(torch.isin(local(elements), test_elements, **options), elements._space, elements._dim)


@composite("bincount")
def _bincount(input: Tensor, weights: Tensor | None = None, minlength: int = 0) -> Tensor:
    if weights is not None and weights.requires_grad and torch.is_grad_enabled():
        refuse("bincount", "has no gradient; detach its weights")
    torch.bincount(input.new_zeros(1 if input.dim() == 1 else (1, 1)))  # says what it does not take
    if bool((input < 0).any()):
        raise RuntimeError("bincount only supports 1-d non-negative integral inputs.")
    if not input.numel():  # integers, whatever the weights
        return torch.zeros(minlength, dtype=torch.int64, device=input.device)
    if weights is None:
        values = torch.ones_like(input, dtype=torch.int64)
    else:
        values = weights if weights.dtype == torch.float32 else weights.double()
    counts = torch.zeros(max(int(input.max()) + 1, minlength), dtype=values.dtype, device=values.device)
    return counts.scatter_add(0, input.long(), values)


@composite("_convert_indices_from_coo_to_csr")
def _pointer(input: Tensor, size: int, *, out_int32: bool = False) -> Tensor:
    """Where the runs of sorted ids begin, as every rank's."""
    counts = torch.bincount(input, minlength=size)
    pointer = torch.cat([counts.new_zeros(1), counts.cumsum(0)])
    return pointer.int() if out_int32 else pointer


@composite("segment_reduce")
def _segment_reduce(
    data: Tensor,
    reduce: str,
    *,
    lengths: Tensor | None = None,
    indices: Tensor | None = None,
    offsets: Tensor | None = None,
    axis: int = 0,
    unsafe: bool = False,
    initial: float | None = None,
) -> Tensor:
    """Runs of rows, by ids that say in which run each row is: 8 bytes for each row of the whole graph meanwhile."""
    if lengths is None and offsets is not None:
        lengths = offsets.diff()
    if not isinstance(data, Rows) or lengths is None or isinstance(lengths, Rows) or lengths.dim() != 1 or axis != 0:
        refuse("segment_reduce", "takes rows, and lengths or offsets of one dimension that every rank has")
    if reduce not in _OF_NO_ROWS or initial not in (None, 0) or (initial == 0 and reduce not in ("sum", "mean")):
        refuse("segment_reduce", f"of {reduce} from {initial} is not known for rows")
    if abs(_OF_NO_ROWS[reduce]) == math.inf and data.requires_grad and torch.is_grad_enabled():
        refuse("segment_reduce", "of extremes has a gradient that depends on its sign among equals; write scatter")
    index = torch.repeat_interleave(torch.arange(len(lengths), device=data.device), lengths)
    if len(index) != data.size(0):
        raise RuntimeError(f"segment_reduce(): lengths must sum up to the size of data, {data.size(0)}: {len(index)}")
    fill = 0.0 if initial == 0 else _OF_NO_ROWS[reduce]
    of_runs = data.new_full((len(lengths), *data.shape[1:]), fill)
    index = index.view(-1, *[1] * (data.dim() - 1)).expand(list(map(int, data.shape)))
    name = {"max": "amax", "min": "amin"}.get(reduce, reduce)
    return of_runs.scatter_reduce(0, index, data, name, include_self=False)


_OF_NO_ROWS = {"sum": 0.0, "mean": math.nan, "prod": 1.0, "max": -math.inf, "min": math.inf}
_OF_NO_ROWS |= {"amax": -math.inf, "amin": math.inf}


@called("one_hot")
def _one_hot(func: Any, input: Rows, num_classes: int = -1) -> Rows:
    x = rows_only(func, input)
    if num_classes == -1 and global_shape(x).numel():
        with functions_on():
            num_classes = int(x.max()) + 1
    return rows(F.one_hot(local(x), num_classes), x._space, x._dim)

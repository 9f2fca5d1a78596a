"""Reading by index: original ids mean the whole graph's rows, wherever these lie.

Rows that a mask, a slice or a list of ids chooses stay where they are. Rows that ids among `Rows` name are fetched to
where their ids are, by a way that the ids remember.
"""

from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor

from fullgraph.rows.adjoints import sum_over_ranks
from fullgraph.rows.alignment import at_rows, broadcast, one_space, wrapped
from fullgraph.rows.calls import dims_of, named, refuse
from fullgraph.rows.copies import copied_part, copied_row
from fullgraph.rows.keys import (
    WHOLE,
    Key,
    beside,
    check_forward,
    check_ids,
    check_mask,
    entries_at,
    line_of,
    pick,
    sliced,
    way_forward,
)
from fullgraph.rows.routes import with_ways
from fullgraph.rows.space import Space
from fullgraph.rows.table import called, composite, entered_values, meaning
from fullgraph.rows.tensor import Rows, global_shape, local, rows, sizes


def read(func: Any, x: Tensor, key: Any) -> Tensor:
    """``x[key]``, where ``x`` or something in ``key`` is `Rows`."""
    while _is_mask_of_one_image(x, key):
        key = rows(key.squeeze(0), key._space, key._dim - 1)
        x = rows(x.squeeze(0), x._space, x._dim - 1) if isinstance(x, Rows) else x.squeeze(0)
    parsed = Key.of(func, x, key)
    if not isinstance(x, Rows):
        return _read_everywhere(func, x, key, parsed)
    if isinstance(parsed.row, int):
        return _read_row(func, x, parsed)
    view = local(x)[parsed.basic]
    row_dim = cast(int, parsed.row_dim)
    space, chosen = sliced(x._space, parsed.row)
    if chosen is not None:
        rest = (*[WHOLE] * row_dim, parsed.row)
        view = view[rest] if x._space.is_identity else view.index_select(row_dim, chosen)
    if not parsed.indices:
        part = _with_ways(rows(view, space, row_dim), x, parsed)
        return part if chosen is None else copied_part(part)
    index = parsed.indices.get(row_dim)
    if index is not None and (index.dtype != torch.bool or index.dim() == 1):
        return _read_picked(func, view, parsed, space)
    if row_dim in parsed.covered:
        first, mask, entries = entries_at(func, view, parsed, space)
        flat = view.reshape(*view.shape[:first], entries.num_own, *view.shape[first + mask.dim() :])
        chosen_entries = entries.subset(mask, lambda: at_rows(func, mask, space).reshape(-1))
        return rows(flat.index_select(first, chosen_entries.chosen), chosen_entries, first)
    if any(isinstance(index, Rows) for index in parsed.indices.values()):
        refuse(func, "by rows of ids where x has columns")
    return rows(view[parsed.full_index(parsed.indices)], space, parsed.rows_after)


meaning("__getitem__")(lambda func, args, kwargs: read(func, *args))


def _is_mask_of_one_image(x: Tensor, key: Any) -> bool:
    """Whether a mask begins with a dimension of size 1, which it takes away, before the rows."""
    if not isinstance(key, Rows) or key.dtype != torch.bool or key._dim == 0 or x.dim() == 0:
        return False
    return (not isinstance(x, Rows) or x._dim == key._dim) and key.shape[0] == x.shape[0] == 1


def _with_ways(out: Rows, x: Rows, key: Key) -> Rows:
    """``out``, with the ways of ``x`` if it is a view of the same ids, or of one column of them."""
    if not key.keeps_rows or any(isinstance(entry, slice) and entry != WHOLE for entry in key.basic):
        return out
    return cast(Rows, with_ways(out, x, tuple(entry for entry in key.entries if isinstance(entry, int))))


def _read_row(func: Any, x: Rows, key: Key) -> Tensor:
    """What one row is, and of it the rest of the key: the same on every rank. Collective."""
    n, space, position = x._space.num_rows, x._space, cast(int, key.row)
    if not -n <= position < n:
        raise IndexError(f"index {position} is out of bounds for dimension {x._dim} with size {n}")
    if space.is_identity and space.view.is_alone:
        row = local(x).select(x._dim, position)
    else:
        _, chosen = sliced(space, slice(position % n, position % n + 1))
        own = local(x) if chosen is None else local(x).index_select(x._dim, chosen)
        row = sum_over_ranks(own.sum(x._dim, dtype=x.dtype), space.view)
    rest = (*key.entries[: key.row_entry], *key.entries[key.row_entry + 1 :])
    if any(isinstance(entry, Rows) for entry in rest):
        return read(func, entered_values([row], space.view)[0], rest)
    return copied_row(row[rest], space.view)


def _read_picked(func: Any, view: Tensor, key: Key, space: Space) -> Tensor:
    """Where ids or a mask stand at the rows: these rows, and of each what ids beside them choose."""
    row_dim = cast(int, key.row_dim)
    picked = pick(func, key.indices[row_dim], space)
    found = picked.route.fetch(view.movedim(row_dim, 0)).movedim(0, row_dim)
    if len(key.indices) == 1 and picked.places is None:
        return rows(found, picked.space, row_dim)
    places = torch.arange(picked.space.num_own, device=view.device) if picked.places is None else picked.places
    own = {**beside(func, key, picked.space, picked.right), row_dim: places}
    together = max(index.dim() for index in own.values())
    return rows(found[key.full_index(own)], picked.space, key.first + together - picked.right)


def _read_everywhere(func: Any, x: Tensor, key: Any, parsed: Key) -> Tensor:
    """A tensor that every rank has, by ids among `Rows`: a row of the result for each row of ids. No communication."""
    found = {dim: index for dim, index in parsed.indices.items() if isinstance(index, Rows)}
    for dim, mask in found.items():
        if mask.dtype == torch.bool:  # x has a row for each of the mask
            at = parsed.dims[dim] + mask._dim
            if x.shape[at] != mask._space.num_rows:
                check_mask(mask, list(x.shape[parsed.dims[dim] :][: mask.dim()]))
            own = mask._space.localize(x, at)
            return read(func, rows(own.view_as(own), mask._space, at), key)
    space = one_space(func, list(found.values()))
    right = min(index.dim() - index._dim for index in found.values())
    own = beside(func, parsed, space, right)
    together = max(index.dim() for index in own.values())
    view = x[parsed.basic]
    return rows(view[parsed.full_index(own)], space, parsed.first + together - right)


def _along(dim: int, entry: Any) -> tuple[Any, ...]:
    return (*[WHOLE] * dim, entry)


@called("index_select")
def _index_select(func: Any, input: Tensor, dim: int, index: Tensor) -> Tensor:
    if index.dim() > 1:
        raise IndexError("index_select(): Index is supposed to be a vector")
    check_ids(func, index)
    (dim,) = dims_of(input, dim)
    if not isinstance(input, Rows):
        return rows(input.index_select(dim, local(index)), cast(Rows, index)._space, dim)
    if dim == input._dim:
        return _fetched(func, input, index if index.dim() else index.view(1))
    if isinstance(index, Rows):
        refuse(func, "by rows of ids where x has columns")
    return rows(local(input).index_select(dim, index), input._space, input._dim)


def _fetched(func: Any, x: Rows, ids: Tensor) -> Rows:
    """The rows at ids of one dimension, which do not count from the end. Collective."""
    space, route = way_forward(func, ids, x._space)
    return rows(route.fetch(local(x).movedim(x._dim, 0)).movedim(0, x._dim), space, x._dim)


@called("select")
def _select(func: Any, input: Tensor, dim: int, index: int) -> Tensor:
    return read(func, input, _along(dims_of(input, dim)[0], int(index)))


@called("narrow")
def _narrow(func: Any, input: Rows, dim: int, start: Any, length: int) -> Tensor:
    start = int(start)
    torch.empty(global_shape(input), device="meta").narrow(dim, start, length)  # raises torch's own error
    (dim,) = dims_of(input, dim)
    start %= max(int(global_shape(input)[dim]), 1)
    return read(func, input, _along(dim, slice(start, start + int(length))))


@composite("masked_select")
def _masked_select(input: Tensor, mask: Tensor) -> Tensor:
    if mask.dtype != torch.bool:
        raise RuntimeError("masked_select: expected BoolTensor for mask")
    if input.shape != mask.shape:
        input, mask = torch.broadcast_tensors(input, mask)
    return input[mask]


# -- where a mask is true: ids that every rank has


@called("nonzero argwhere")
def _nonzero(func: Any, input: Rows, *, as_tuple: bool = False) -> Any:
    found = _ids_of(input)
    return tuple(found.unbind(1)) if as_tuple else found


def _ids_of(x: Rows) -> Tensor:
    """The ids of all entries that are not zero, in the order of one process, ``[k, x.dim()]``. Collective."""
    view, shape = x._space.view, sizes(x)
    own = local(x).nonzero()
    if not (x._space.is_identity and view.is_alone):
        own[:, x._dim] = x._space.positions[own[:, x._dim]]
    view.check()
    entry = torch.zeros(len(own), dtype=torch.int64, device=own.device)
    for dim, size in enumerate(shape):
        entry = entry * size + own[:, dim]
    every = torch.cat(view.swap([entry] * view.world.num_ranks)).sort().values
    return torch.stack(torch.unravel_index(every, shape), 1)


@meaning("where")
def _where(func: Any, args: Any, kwargs: Any) -> Any:
    if len(args) + len(kwargs) == 1:
        return tuple(_ids_of((*args, *kwargs.values())[0]).unbind(1))
    args, kwargs, space, right = broadcast(func, args, kwargs)
    return wrapped(func(*args, **kwargs), space, -right)


# -- along a dimension, with another id at each entry


@called("gather")
def _gather(func: Any, input: Tensor, dim: int, index: Tensor, *, sparse_grad: bool = False) -> Tensor:
    if sparse_grad:
        refuse(func, "with a sparse gradient")
    if input.dim() != index.dim():
        if not isinstance(index, Rows) and not index.numel():
            refuse(func, "by no ids")
        raise RuntimeError("Index tensor must have the same number of dimensions as input tensor")
    (dim,) = dims_of(input, dim)
    check_ids(func, index)
    if not isinstance(index, Rows):
        x = cast(Rows, input)
        if x._dim == dim:
            return _gathered_everywhere(x, index)
        space, row_dim = x._space, x._dim
    elif index._dim == dim and not isinstance(input, Rows):
        return rows(input.gather(dim, local(index)), index._space, dim)
    elif isinstance(input, Rows) and input._dim == dim:
        return _gathered_rows(func, input, index)
    else:
        space, row_dim = one_space(func, (input, index)), index._dim
    own, ids = at_rows(func, input, space, row_dim), at_rows(func, index, space, row_dim)
    return rows(own.gather(dim, ids), space, row_dim)


@composite("take_along_dim")
def _take_along_dim(input: Tensor, indices: Tensor, dim: int | None = None) -> Tensor:
    if input.dim() != indices.dim() or (dim is None and input.dim() > 1):
        refuse("take_along_dim", "without a dimension, or of another number of dimensions")
    (dim,) = dims_of(input, dim or 0)
    return torch.gather(_spread(input, indices, dim), dim, _spread(indices, input, dim))


def _spread(x: Tensor, like: Tensor, dim: int) -> Tensor:
    """``x``, with as many columns as ``like`` in all dimensions but ``dim`` where it has one."""
    sizes = zip(x.shape, like.shape, strict=True)
    return x.expand([other if d != dim and size == 1 else size for d, (size, other) in enumerate(sizes)])


def _gathered_rows(func: Any, x: Rows, index: Rows) -> Tensor:
    """Along rows, by rows of ids: these rows, as many columns of them as there are of ids."""
    line = line_of(index)
    if index._dim != x._dim or line is None:
        refuse(func, "along rows, with another index in each column (write x[index[:, c], c])")
    columns = tuple(WHOLE if d == x._dim else slice(size) for d, size in enumerate(local(index).shape))
    return _fetched(func, rows(local(x)[columns], x._space, x._dim), line)


def _gathered_everywhere(x: Rows, index: Tensor) -> Tensor:
    """Along rows, by ids that every rank has: what is the same on every rank, the sum of what each has of it."""
    dim, space = x._dim, x._space
    if index.numel() and not (int(index.min()) >= 0 and int(index.max()) < space.num_rows):
        raise RuntimeError(f"index out of bounds for dimension {dim} with size {space.num_rows}")
    found = space.find(index)
    padded = F.pad(local(x), [0, 0] * (x.dim() - 1 - dim) + [0, 1])
    return sum_over_ranks(padded.gather(dim, torch.where(found < 0, space.num_own, found)), space.view)


# -- tables


@composite("embedding")
def _embedding(
    weight: Tensor, indices: Tensor, padding_idx: int = -1, scale_grad_by_freq: bool = False, sparse: bool = False
) -> Tensor:
    _check_table("embedding", scale_grad_by_freq, sparse)
    if weight.dim() != 2:
        raise RuntimeError("'weight' must be 2-D")
    check_ids("embedding", indices)
    if not isinstance(indices, Rows):
        check_forward("embedding", indices)
    if isinstance(weight, Rows):
        found = weight[indices] if indices.dim() else weight[indices].clone()
    else:  # torch's own has no second derivative for a rank without ids
        found = weight.index_select(0, indices.reshape(-1)).view(*indices.shape, weight.size(1))
    return found if padding_idx < 0 else torch.where((indices == padding_idx).unsqueeze(-1), found.detach(), found)


@meaning("embedding_bag")
def _embedding_bag(func: Any, args: Any, kwargs: Any) -> Tensor:
    if func is not F.embedding_bag:
        refuse(func, "of torch itself gives more than its result; write torch.nn.functional's")
    names = """input weight offsets max_norm norm_type scale_grad_by_freq mode sparse per_sample_weights
    include_last_offset padding_idx"""
    given = named(args, kwargs, names)
    _check_table(func, *(given.get(name) for name in ("max_norm", "scale_grad_by_freq", "sparse")))
    ids, weight, weights = given["input"], given["weight"], given.get("per_sample_weights")
    if not isinstance(ids, Rows) or ids.dim() != 2 or ids._dim or isinstance(weight, Rows):
        refuse(func, "but for rows that are bags, of a table that every rank has")
    if weights is not None:
        weights = at_rows(func, weights, ids._space)
    given.update(input=local(ids), per_sample_weights=weights)
    return rows(F.embedding_bag(**given), ids._space)


def _check_table(func: Any, *options: Any) -> None:
    if any(option is not None and option is not False for option in options):
        refuse(func, "with max_norm, scale_grad_by_freq or sparse")

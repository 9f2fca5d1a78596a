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
from fullgraph.rows.arguments import dims_of, named
from fullgraph.rows.copies import copied_part, copied_row
from fullgraph.rows.keys import WHOLE, Key, check_mask
from fullgraph.rows.picking import beside, check_forward, check_ids, line_of, own_entries, pick, sliced, way_forward
from fullgraph.rows.space import Space
from fullgraph.rows.table import composite, entered_values, meaning, refuse
from fullgraph.rows.tensor import Rows, dim_of, global_shape, local, rows, space_of
from fullgraph.rows.ways import with_ways, with_ways_of_part


@meaning("__getitem__")
def _getitem(func: Any, args: Any, kwargs: Any) -> Tensor:
    return read(func, args[0], args[1])


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
    view = local(x) if parsed.is_plain else local(x)[parsed.basic]
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
        return _read_entries(func, view, parsed, space)
    if any(isinstance(index, Rows) for index in parsed.indices.values()):
        refuse(func, "by rows of ids where x has columns")
    return rows(view[parsed.full_index(parsed.indices)], space, parsed.rows_after)


def _is_mask_of_one_image(x: Tensor, key: Any) -> bool:
    """Whether a mask begins with a dimension of size 1, which it takes away, before the rows."""
    if not isinstance(key, Rows) or key.dtype != torch.bool or key._dim == 0 or x.dim() == 0:
        return False
    return (not isinstance(x, Rows) or x._dim == key._dim) and key.shape[0] == x.shape[0] == 1


def _with_ways(out: Rows, x: Rows, key: Key) -> Rows:
    """``out``, with the ways of ``x`` if it is a view of the same ids, or of one column of them."""
    if not key.keeps_rows or any(isinstance(entry, slice) and entry != WHOLE for entry in key.basic):
        return out
    part = tuple(entry for entry in key.entries if isinstance(entry, int))
    return cast(Rows, with_ways_of_part(out, x, part) if part else with_ways(out, x))


def _read_row(func: Any, x: Rows, key: Key) -> Tensor:
    """What one row is, and of it the rest of the key: the same on every rank."""
    row = row_at(x, cast(int, key.row))
    rest = (*key.entries[: key.row_entry], *key.entries[key.row_entry + 1 :])
    if any(isinstance(entry, Rows) for entry in rest):
        return read(func, entered_values([row], x._space.view)[0], rest)
    return copied_row(row[rest], x._space.view)


def row_at(x: Rows, position: int) -> Tensor:
    """One row, on every rank. Collective."""
    n, space = x._space.num_rows, x._space
    if not -n <= position < n:
        raise IndexError(f"index {position} is out of bounds for dimension {x._dim} with size {n}")
    if space.is_identity and space.view.is_alone:
        return local(x).select(x._dim, position)
    _, chosen = sliced(space, slice(position % n, position % n + 1))
    own = local(x) if chosen is None else local(x).index_select(x._dim, chosen)
    return copied_row(sum_over_ranks(own.sum(x._dim, dtype=x.dtype), space.view), space.view)


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
    out = found[key.full_index(own)]
    return rows(out, picked.space, key.first + together - picked.right)


def _read_entries(func: Any, view: Tensor, key: Key, space: Space) -> Tensor:
    """Where a mask of several dimensions stands at the rows and columns after them: the entries that it chooses."""
    (first, mask), *others = key.indices.items()
    if others or first != key.row_dim or (isinstance(mask, Rows) and mask._dim != 0):
        refuse(func, "by a mask of several dimensions whose first are not the rows, or beside others")
    columns = view.shape[first + 1 : first + mask.dim()]
    check_mask(mask, [space.num_rows, *columns])
    entries = space.times(columns.numel())
    chosen: Any = entries.subset(mask, lambda: own_entries(mask, space).reshape(-1))
    flat = view.reshape(*view.shape[:first], entries.num_own, *view.shape[first + mask.dim() :])
    return rows(flat.index_select(first, chosen.chosen), chosen, first)


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
    right = {index.dim() - index._dim for index in found.values()}
    if len(right) > 1:
        refuse(func, "by ids whose rows would meet columns of others")
    own = beside(func, parsed, space, min(right))
    together = max(index.dim() for index in own.values())
    view = x if parsed.is_plain else x[parsed.basic]
    return rows(view[parsed.full_index(own)], space, parsed.first + together - min(right))


def _along(dim: int, entry: Any) -> tuple[Any, ...]:
    return (*[WHOLE] * dim, entry)


@meaning("index_select")
def _index_select(func: Any, args: Any, kwargs: Any) -> Tensor:
    given = named(args, kwargs, "input dim index")
    x, index = given["input"], given["index"]
    if index.dim() > 1:
        raise IndexError("index_select(): Index is supposed to be a vector")
    check_ids(func, index)
    (dim,) = dims_of(x, given["dim"])
    if not isinstance(index, Rows):
        check_forward(func, index)
    elif not isinstance(x, Rows):
        return rows(x.index_select(dim, local(index)), index._space, dim)
    elif dim == x._dim:
        way_forward(func, index, x._space)
    return read(func, x, _along(dim, index if index.dim() else index.view(1)))


@meaning("select")
def _select(func: Any, args: Any, kwargs: Any) -> Tensor:
    given = named(args, kwargs, "input dim index")
    return read(func, given["input"], _along(dims_of(given["input"], given["dim"])[0], int(given["index"])))


@meaning("narrow")
def _narrow(func: Any, args: Any, kwargs: Any) -> Tensor:
    given = named(args, kwargs, "input dim start length")
    x, start, length = given["input"], int(given["start"]), int(given["length"])
    torch.empty(global_shape(x), device="meta").narrow(given["dim"], start, length)  # raises torch's own error
    (dim,) = dims_of(x, given["dim"])
    start %= max(int(global_shape(x)[dim]), 1)
    return read(func, x, _along(dim, slice(start, start + length)))


@meaning("masked_select")
def _masked_select(func: Any, args: Any, kwargs: Any) -> Tensor:
    given = named(args, kwargs, "input mask")
    mask = given["mask"]
    if mask.dtype != torch.bool:
        raise RuntimeError("masked_select: expected BoolTensor for mask")
    (x, own), _, space, right = broadcast(func, (given["input"], mask), {})
    x, own = torch.broadcast_tensors(local(x), local(own))
    if x.dim() != right:
        refuse(func, "of rows that are not the first dimension")
    entries = space if x.dim() == 1 else space.times(x.shape[1:].numel())
    chosen: Any = entries.subset(mask, lambda: own.reshape(-1))
    return rows(x.reshape(-1).index_select(0, chosen.chosen), chosen)


# -- where a mask is true: ids that every rank has


@meaning("nonzero argwhere")
def _nonzero(func: Any, args: Any, kwargs: Any) -> Any:
    given = named(args, kwargs, "input")
    found = _ids_of(given["input"])
    return tuple(found.unbind(1)) if given.get("as_tuple") else found


def _ids_of(x: Rows) -> Tensor:
    """The ids of all entries that are not zero, in the order of one process, ``[k, x.dim()]``. Collective."""
    view, shape = x._space.view, [int(n) for n in global_shape(x)]
    own = local(x).nonzero()
    if not (x._space.is_identity and view.is_alone):
        own[:, x._dim] = x._space.positions[own[:, x._dim]]
    view.check()
    entry = torch.zeros(len(own), dtype=torch.int64, device=own.device)
    for dim, size in enumerate(shape):
        entry = entry * size + own[:, dim]
    every = torch.cat(view.swap([entry] * view.world.num_ranks)).sort().values
    columns = []
    for size in reversed(shape):
        columns.append(every % max(size, 1))
        every = every.div(max(size, 1), rounding_mode="floor")
    return torch.stack(columns[::-1], 1)


@meaning("where")
def _where(func: Any, args: Any, kwargs: Any) -> Any:
    if len(args) + len(kwargs) == 1:
        return tuple(_ids_of((*args, *kwargs.values())[0]).unbind(1))
    args, kwargs, space, right = broadcast(func, args, kwargs)
    return wrapped(func(*args, **kwargs), space, right)


# -- along a dimension, with another id at each entry


@meaning("gather")
def _gather(func: Any, args: Any, kwargs: Any) -> Tensor:
    given = named(args, kwargs, "input dim index sparse_grad")
    if given.get("sparse_grad"):
        refuse(func, "with a sparse gradient")
    x, index = given["input"], given["index"]
    if x.dim() != index.dim():
        if not isinstance(index, Rows) and not index.numel():
            refuse(func, "by no ids")
        raise RuntimeError("Index tensor must have the same number of dimensions as input tensor")
    return _gathered(func, x, dims_of(x, given["dim"])[0], index)


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


def _gathered(func: Any, x: Tensor, dim: int, index: Tensor) -> Tensor:
    check_ids(func, index)
    if not isinstance(index, Rows):
        if cast(Rows, x)._dim == dim:
            return _gathered_everywhere(func, cast(Rows, x), index)
        space, row_dim = cast(Rows, x)._space, cast(Rows, x)._dim
    elif not isinstance(x, Rows) and index._dim == dim:
        return rows(x.gather(dim, local(index)), index._space, dim)
    elif isinstance(x, Rows) and x._dim == dim:
        return _gathered_rows(func, x, index)
    else:
        space, row_dim = one_space(func, (x, index)), index._dim
    own, ids = at_rows(func, x, space, row_dim), at_rows(func, index, space, row_dim)
    return rows(own.gather(dim, ids), space, row_dim)


def _gathered_rows(func: Any, x: Rows, index: Rows) -> Tensor:
    """Along rows, by rows of ids: these rows, as many columns of them as there are of ids."""
    line = line_of(index)
    if index._dim != x._dim or line is None:
        refuse(func, "along rows, with another index in each column (write x[index[:, c], c])")
    columns = tuple(WHOLE if d == x._dim else slice(size) for d, size in enumerate(local(index).shape))
    found = way_forward(func, line, x._space).fetch(local(x)[columns].movedim(x._dim, 0)).movedim(0, x._dim)
    return rows(found, index._space, x._dim)


def _gathered_everywhere(func: Any, x: Rows, index: Tensor) -> Tensor:
    """Along rows, by ids that every rank has: what is the same on every rank, the sum of what each has of it."""
    dim, space = x._dim, x._space
    if index.numel() and not (int(index.min()) >= 0 and int(index.max()) < space.num_rows):
        raise RuntimeError(f"index out of bounds for dimension {dim} with size {space.num_rows}")
    found = space.find(index)
    padded = F.pad(local(x), [0, 0] * (x.dim() - 1 - dim) + [0, 1])
    return sum_over_ranks(padded.gather(dim, torch.where(found < 0, space.num_own, found)), space.view)


# -- tables


@meaning("embedding")
def _embedding(func: Any, args: Any, kwargs: Any) -> Tensor:
    given = named(args, kwargs, "weight indices padding_idx scale_grad_by_freq sparse")
    _check_table(func, given)
    ids, weight, padding = given["indices"], given["weight"], given.get("padding_idx", -1)
    if weight.dim() != 2:
        raise RuntimeError("'weight' must be 2-D")
    check_ids(func, ids)
    if not isinstance(ids, Rows):
        check_forward(func, ids)
    if isinstance(weight, Rows):
        found = read(func, weight, ids) if ids.dim() else read(func, weight, ids).clone()
    else:  # torch's own has no second derivative for a rank without ids
        plain = local(ids)
        own = weight.index_select(0, plain.reshape(-1)).view(*plain.shape, *weight.shape[1:])
        found = rows(own, space_of(ids), dim_of(ids))
    if padding < 0:
        return found
    if not isinstance(found, Rows) or found._dim >= ids.dim():
        refuse(func, "with padding_idx, of one id or of a table whose rows are not the first dimension")
    is_padding = at_rows(func, ids, found._space, found._dim) == padding
    out = torch.where(is_padding.unsqueeze(-1), local(found).detach(), local(found))
    return rows(out, found._space, found._dim)


@meaning("embedding_bag")
def _embedding_bag(func: Any, args: Any, kwargs: Any) -> Tensor:
    if func is not F.embedding_bag:
        refuse(func, "of torch itself gives more than its result; write torch.nn.functional's")
    names = """input weight offsets max_norm norm_type scale_grad_by_freq mode sparse per_sample_weights
    include_last_offset padding_idx"""
    given = named(args, kwargs, names)
    _check_table(func, given)
    ids, weight, weights = given["input"], given["weight"], given.get("per_sample_weights")
    if not isinstance(ids, Rows) or ids.dim() != 2 or ids._dim or isinstance(weight, Rows):
        refuse(func, "but for rows that are bags, of a table that every rank has")
    if weights is not None:
        weights = at_rows(func, weights, ids._space)
    given.update(input=local(ids), per_sample_weights=weights)
    return rows(F.embedding_bag(**given), ids._space)


def _check_table(func: Any, given: dict[str, Any]) -> None:
    if given.get("max_norm") is not None or given.get("scale_grad_by_freq") or given.get("sparse"):
        refuse(func, "with max_norm, scale_grad_by_freq or sparse")

"""Writing by index into `Rows`: each value goes to the rank that has its row. Into what every rank has, each writes the
rows of all ranks, which are gathered; what adds up there is in `rows.scattering`.
"""

from collections.abc import Callable
from typing import Any, cast

import torch
from torch import Tensor

from fullgraph.rows import scattering  # noqa: F401  the table's entries
from fullgraph.rows.adjoints import sum_over_ranks
from fullgraph.rows.alignment import at_rows, moved, one_space
from fullgraph.rows.arguments import dims_of, named
from fullgraph.rows.gathering import gather
from fullgraph.rows.keys import WHOLE, Key, check_mask
from fullgraph.rows.picking import beside, check_forward, own_entries, pick, sliced, way_forward
from fullgraph.rows.reading import row_at
from fullgraph.rows.routes import Here
from fullgraph.rows.scattering import in_order
from fullgraph.rows.space import Space
from fullgraph.rows.table import entered, entered_values, mapped, meaning, refuse, refused
from fullgraph.rows.tensor import Rows, global_shape, local, rows

Put = Callable[[Tensor, tuple[Any, ...], Tensor], None]


@meaning("__setitem__", enters=False)
def _setitem(func: Any, args: Any, kwargs: Any) -> None:
    x, key, value = args
    if isinstance(x, Rows):
        write(func, *entered((x, key, value), {})[0])
    else:  # every rank writes all rows
        x[mapped(key, gather)] = mapped(value, gather)


def _set(view: Tensor, index: tuple[Any, ...], value: Tensor) -> None:
    view[index] = value


def _add(view: Tensor, index: tuple[Any, ...], value: Tensor) -> None:
    """Add to ``view[index]``, to one place as often as it is named."""
    ids = [None if isinstance(entry, slice) else entry for entry in index]
    torch.ops.aten.index_put_(view, ids, value, True)  # torch's method takes no None


def write(func: Any, x: Rows, key: Any, value: Any, put: Put = _set) -> None:
    """``x[key] = value``, in place; ``put`` does it to local rows."""
    if not isinstance(value, Tensor):
        number = torch.empty((), dtype=x.dtype, device=x.device)
        number[...] = value  # or torch's own error
        value = number
    parsed = Key.of(func, x, key)
    view = local(x)[parsed.basic]
    row_dim = cast(int, parsed.row_dim)
    index = parsed.indices.get(row_dim)
    if isinstance(parsed.row, int):
        _write_row(func, x, parsed, view, value)
    elif index is not None and (index.dtype != torch.bool or index.dim() == 1):
        _write_picked(func, view, parsed, x._space, index, value, put)
    elif row_dim in parsed.covered:
        _write_entries(func, view, parsed, x._space, value, put)
    else:
        _write_slice(func, view, parsed, x._space, value, put)


def _own(func: Any, value: Tensor, space: Space, right: int) -> Tensor:
    """This rank's part of a value for rows of ``space`` that are dimension ``-right`` of where it goes."""
    if isinstance(value, Rows):
        if value.dim() - value._dim != right:
            refuse(func, "would write rows of the value into columns")
        if value._space.num_rows != space.num_rows:
            raise RuntimeError(f"shape mismatch: value of {value._space.num_rows} rows for {space.num_rows} rows")
        return local(moved(value, space))
    if value.dim() < right or value.shape[value.dim() - right] == 1:
        return value
    return at_rows(func, value, space, value.dim() - right)


def _write_slice(func: Any, view: Tensor, key: Key, space: Space, value: Tensor, put: Put) -> None:
    """A slice of rows, all of them too, and of each what the columns' keys choose."""
    row_dim = cast(int, key.row_dim)
    if any(isinstance(index, Rows) for index in key.indices.values()):
        refuse(func, "by rows of ids where x has columns")
    chosen_rows, chosen = sliced(space, cast(slice, key.row))
    num_dims = key.num_dims - len(key.indices) + (key.num_broadcast if key.indices else 0)
    own = _own(func, value, chosen_rows, num_dims - key.rows_after)
    if chosen is None or space.is_identity:  # where values may be a view of the same memory
        put(view, key.full_index({row_dim: key.row, **key.indices}), own)
    elif not key.indices:
        view[key.full_index({row_dim: chosen})] = own.to(view.dtype)  # a slice casts, ids do not
    else:
        part = view.index_select(row_dim, chosen)
        part[key.full_index(key.indices)] = own
        view.index_copy_(row_dim, chosen, part)


def _write_row(func: Any, x: Rows, key: Key, view: Tensor, value: Tensor) -> None:
    """One row. Ranks that do not have it write nothing, but take part in the gradient of the value."""
    n, position, row_dim = x._space.num_rows, cast(int, key.row), cast(int, key.row_dim)
    if isinstance(value, Rows):
        refuse(func, "would write rows into one row")
    if any(isinstance(index, Rows) for index in key.indices.values()):
        refuse(func, "by rows of ids where x has columns")
    if x._space.is_identity and x._space.view.is_alone:  # where the value may be a view of the same memory
        view[key.full_index({row_dim: position, **key.indices})] = value
        return
    if key.indices:
        row = row_at(rows(view.view_as(view), x._space, row_dim), position)
        row = entered_values([row], x._space.view)[0].clone()
        rest = key.full_index(key.indices)
        row[(*rest[:row_dim], *rest[row_dim + 1 :])] = value
        value = row
    if not -n <= position < n:
        raise IndexError(f"index {position} is out of bounds for dimension {x._dim} with size {n}")
    after = view.dim() - 1 - row_dim
    if value.dim() >= after:
        value = value.unsqueeze(value.dim() - after)
    _, chosen = sliced(x._space, slice(position % n, position % n + 1))
    view[key.full_index({} if chosen is None else {row_dim: chosen})] = value.to(view.dtype)


def _write_picked(func: Any, view: Tensor, key: Key, space: Space, index: Tensor, value: Tensor, put: Put) -> None:
    """The rows that a mask or ids name, and of each what ids beside them choose."""
    row_dim, alone = cast(int, key.row_dim), len(key.indices) == 1
    if index.dtype == torch.bool and alone and value.dim() == 0:  # whose rows need not be counted
        check_mask(index, [space.num_rows])
        put(view, key.full_index({row_dim: own_entries(index, space)}), value)
        return
    if index.dim() > 1 and not isinstance(index, Rows):
        if not alone or isinstance(value, Rows):
            refuse(func, "by ids of several dimensions, beside others or for a value of rows")
        shape = [*view.shape[:row_dim], *index.shape, *view.shape[row_dim + 1 :]]
        value = value.expand(shape).reshape(*shape[:row_dim], index.numel(), *view.shape[row_dim + 1 :])
        index = index.reshape(-1)
    picked = pick(func, index, space)
    if picked.places is not None:
        refuse(func, "by ids of several dimensions among rows")
    others = beside(func, key, picked.space, picked.right)
    if any(other.dim() > 1 for other in others.values()):
        refuse(func, "by ids of several dimensions beside others")
    rest = [size for dim, size in enumerate(view.shape) if dim not in key.indices]
    shape = [*rest[: key.first], picked.space.num_own, *rest[key.first :]]
    own = _own(func, value, picked.space, len(shape) - key.first)
    if picked.is_ordered and isinstance(picked.route, Here):
        put(view, key.full_index({**others, row_dim: picked.route.local}), own)
        return
    columns = [other.expand(picked.space.num_own) for other in others.values()]
    shipped, chosen = in_order(picked.route, picked.space, [own.expand(shape).movedim(key.first, 0), *columns])
    ids = {**dict(zip(others, shipped[1:], strict=True)), row_dim: chosen}
    put(view, key.full_index(ids), shipped[0].movedim(0, key.first))


def _write_entries(func: Any, view: Tensor, key: Key, space: Space, value: Tensor, put: Put) -> None:
    """The entries that a mask of several dimensions chooses."""
    (first, mask), *others = key.indices.items()
    if others or first != key.row_dim or (isinstance(mask, Rows) and mask._dim != 0):
        refuse(func, "by a mask of several dimensions whose first are not the rows, or beside others")
    columns = view.shape[first + 1 : first + mask.dim()]
    check_mask(mask, [space.num_rows, *columns])
    own = own_entries(mask, space)
    right = view.dim() - first - mask.dim() + 1
    if isinstance(value, Rows) or (value.dim() >= right and value.shape[value.dim() - right] != 1):
        chosen = space.times(columns.numel()).subset(mask, lambda: own.reshape(-1))
        value = _own(func, value, chosen, right)
    put(view, (*[WHOLE] * first, own), value)


@meaning("index_put index_put_", enters=False)
def _index_put(func: Any, args: Any, kwargs: Any) -> Tensor:
    given = named(args, kwargs, "input indices values accumulate")
    x, indices, accumulate = given["input"], tuple(given["indices"]), given.get("accumulate", False)
    in_place = func.__name__.endswith("_")
    if not isinstance(x, Rows) and not (accumulate and any(isinstance(index, Rows) for index in indices)):
        refuse(func, "would write rows into a tensor that every rank has")
    (_, indices, values), _ = entered((x if isinstance(x, Rows) else None, indices, given["values"]), {})
    if isinstance(x, Rows):
        out = x if in_place else rows(local(x).clone(), x._space, x._dim)
        write(func, out, indices, values, _add if accumulate else _set)
        return out
    total = _added_everywhere(func, x, indices, values)
    return x.add_(total) if in_place else x + total


def _added_everywhere(func: Any, x: Tensor, indices: tuple[Tensor, ...], values: Tensor) -> Tensor:
    """What values add to places that every rank has: the sum over ranks of what each adds."""
    key = Key.of(func, x, indices)
    among = [index for index in indices if isinstance(index, Rows)]
    space, right = one_space(func, among), min(index.dim() - index._dim for index in among)
    total = torch.zeros_like(x)
    own = _own(func, values, space, right + key.num_dims - len(key.indices))
    _add(total, key.full_index(beside(func, key, space, right)), own)
    return sum_over_ranks(total, space.view)


# -- functions that write by an index of one dimension


@meaning("index_copy index_copy_ index_fill index_fill_")
def _index_write(func: Any, args: Any, kwargs: Any) -> Tensor:
    name = func.__name__
    given = named(args, kwargs, "input dim index source" if "copy" in name else "input dim index value")
    x, index = given["input"], given["index"]
    if not isinstance(x, Rows):
        refuse(func, "would write rows into a tensor that every rank has")
    (dim,) = dims_of(x, given["dim"])
    index = index if index.dim() else index.view(1)
    if index.dim() > 1 or index.dtype == torch.bool:
        raise IndexError(f"{name}(): Index is supposed to be a vector of ids")
    out = x if name.endswith("_") else rows(local(x).clone(), x._space, x._dim)
    key = (*[WHOLE] * dim, index)
    if "fill" in name:  # each place once, however often it is named, for the gradient of the value
        hit = torch.zeros_like(local(x), dtype=torch.bool)
        write(func, rows(hit, x._space, x._dim), key, True)
        local(out).masked_fill_(local(hit), given["value"])
        return out
    _check_source(x, dim, index, given["source"])
    if given["source"] is out:
        raise RuntimeError("unsupported operation: index_copy_ of a tensor into itself; clone() it")
    if not isinstance(index, Rows):
        check_forward(func, index)
    elif dim == x._dim:
        way_forward(func, index, x._space)
    write(func, out, key, given["source"])
    return out


def _check_source(x: Rows, dim: int, index: Tensor, source: Tensor) -> None:
    expected = [int(n) for n in global_shape(x)]
    expected[dim] = index._space.num_rows if isinstance(index, Rows) else index.numel()
    shape = [int(n) for n in (global_shape(source) if isinstance(source, Rows) else source.shape)]
    if shape != expected:
        raise RuntimeError(f"index_copy_(): source of shape {shape} where {expected} is needed")
    if source.dtype != x.dtype:
        raise RuntimeError("index_copy_(): self and source expected to have the same dtype")


refused(
    "masked_scatter masked_scatter_ put put_",
    "takes values one after another, however many rows before have taken some",
)

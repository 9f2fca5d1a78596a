"""Writing by index into `Rows`: each value goes to the rank that has its row. Into what every rank has, each writes the
rows of all ranks, which are gathered; what adds up there is in `rows.scattering`.
"""

from collections.abc import Callable
from typing import Any, cast

import torch
from torch import Tensor

from fullgraph.rows.adjoints import gather, sum_over_ranks
from fullgraph.rows.alignment import at_rows, one_space, spread
from fullgraph.rows.calls import dims_of, mapped, refuse
from fullgraph.rows.keys import WHOLE, Key, beside, check_mask, entries_at, pick, sliced
from fullgraph.rows.routes import Here
from fullgraph.rows.scattering import in_order
from fullgraph.rows.space import Space
from fullgraph.rows.table import called, entered, meaning, refused
from fullgraph.rows.tensor import Rows, local, rows

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
    if isinstance(parsed.row, int):
        parsed, value = _row_as_slice(func, x, parsed, value)
    view = local(x)[parsed.basic]
    row_dim = cast(int, parsed.row_dim)
    index = parsed.indices.get(row_dim)
    if index is not None and (index.dtype != torch.bool or index.dim() == 1):
        _write_picked(func, view, parsed, x._space, index, value, put)
    elif row_dim in parsed.covered:
        _write_entries(func, view, parsed, x._space, value, put)
    else:
        _write_slice(func, view, parsed, x._space, value, put)


def _row_as_slice(func: Any, x: Rows, key: Key, value: Tensor) -> tuple[Key, Tensor]:
    """One row as rows of which there is one. Ranks that do not have it write nothing, but take part in the gradient."""
    n, position = x._space.num_rows, cast(int, key.row)
    if isinstance(value, Rows):
        refuse(func, "would write rows into one row")
    if not -n <= position < n:
        raise IndexError(f"index {position} is out of bounds for dimension {x._dim} with size {n}")
    entries = list(key.entries)
    entries[key.row_entry] = slice(position % n, position % n + 1)
    several = Key.of(func, x, tuple(entries))
    if key.indices and key.together != several.together:
        refuse(func, "at ids on both sides of one row")
    after = several.rows_from_right - 1
    return several, value.unsqueeze(value.dim() - after) if value.dim() >= after else value


def _write_slice(func: Any, view: Tensor, key: Key, space: Space, value: Tensor, put: Put) -> None:
    """A slice of rows, all of them too, and of each what the columns' keys choose."""
    row_dim = cast(int, key.row_dim)
    if any(isinstance(index, Rows) for index in key.indices.values()):
        refuse(func, "by rows of ids where x has columns")
    chosen_rows, chosen = sliced(space, cast(slice, key.row))
    own = spread(func, value, chosen_rows, key.rows_from_right)
    if chosen is None or space.is_identity:  # where values may be a view of the same memory
        put(view, key.full_index({row_dim: key.row, **key.indices}), own)
    elif not key.indices:
        view[key.full_index({row_dim: chosen})] = own.to(view.dtype)  # a slice casts, ids do not
    else:
        part = view.index_select(row_dim, chosen)
        part[key.full_index(key.indices)] = own
        view.index_copy_(row_dim, chosen, part)


def _write_picked(func: Any, view: Tensor, key: Key, space: Space, index: Tensor, value: Tensor, put: Put) -> None:
    """The rows that a mask or ids name, and of each what ids beside them choose."""
    row_dim, alone = cast(int, key.row_dim), len(key.indices) == 1
    if index.dtype == torch.bool and alone and value.dim() == 0:  # whose rows need not be counted
        check_mask(index, [space.num_rows])
        put(view, key.full_index({row_dim: at_rows(func, index, space)}), value)
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
    own = spread(func, value, picked.space, len(shape) - key.first)
    if picked.is_ordered and isinstance(picked.route, Here):
        put(view, key.full_index({**others, row_dim: picked.route.local}), own)
        return
    columns = [other.expand(picked.space.num_own) for other in others.values()]
    shipped, chosen = in_order(picked.route, picked.space, [own.expand(shape).movedim(key.first, 0), *columns])
    ids = {**dict(zip(others, shipped[1:], strict=True)), row_dim: chosen}
    put(view, key.full_index(ids), shipped[0].movedim(0, key.first))


def _write_entries(func: Any, view: Tensor, key: Key, space: Space, value: Tensor, put: Put) -> None:
    """The entries that a mask of several dimensions chooses."""
    first, mask, entries = entries_at(func, view, key, space)
    own = at_rows(func, mask, space)
    right = view.dim() - first - mask.dim() + 1
    if isinstance(value, Rows) or (value.dim() >= right and value.shape[value.dim() - right] != 1):
        value = spread(func, value, entries.subset(mask, lambda: own.reshape(-1)), right)
    put(view, (*[WHOLE] * first, own), value)


@called("index_put index_put_", enters=False)
def _index_put(func: Any, input: Tensor, indices: Any, values: Tensor, accumulate: bool = False) -> Tensor:
    x, in_place = input, func.__name__.endswith("_")
    indices = tuple(ids if ids.dim() or ids.dtype == torch.bool else ids.view(1) for ids in indices)
    if not isinstance(x, Rows) and not (accumulate and any(isinstance(index, Rows) for index in indices)):
        refuse(func, "would write rows into a tensor that every rank has")
    (_, indices, values), _ = entered((x if isinstance(x, Rows) else None, indices, values), {})
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
    own = spread(func, values, space, right + key.num_dims - len(key.indices))
    _add(total, key.full_index(beside(func, key, space, right)), own)
    return sum_over_ranks(total, space.view)


@called("index_fill index_fill_")
def _index_fill(func: Any, input: Tensor, dim: int, index: Tensor, value: Any) -> Tensor:
    """Each place once, however often it is named, for the gradient of the value."""
    x = input
    if not isinstance(x, Rows):
        refuse(func, "would write rows into a tensor that every rank has")
    (dim,) = dims_of(x, dim)
    index = index if index.dim() else index.view(1)
    if index.dim() > 1 or index.dtype == torch.bool:
        raise IndexError(f"{func.__name__}(): Index is supposed to be a vector of ids")
    hit = rows(torch.zeros_like(local(x), dtype=torch.bool), x._space, x._dim)
    write(func, hit, (*[WHOLE] * dim, index), True)
    out = x if func.__name__.endswith("_") else rows(local(x).clone(), x._space, x._dim)
    local(out).masked_fill_(local(hit), value)
    return out


refused(
    "masked_scatter masked_scatter_ put put_",
    "takes values one after another, however many rows before have taken some",
)

"""Some rows of a space, named by a mask, a slice or ids: as what rows the result has, and the way to them."""

from typing import Any, NamedTuple

import torch
from torch import Tensor

from fullgraph.rows.alignment import moved
from fullgraph.rows.keys import Key, check_mask
from fullgraph.rows.routes import Here, Route
from fullgraph.rows.shapes import whole
from fullgraph.rows.space import Shared, Space
from fullgraph.rows.table import name_of, refuse
from fullgraph.rows.tensor import Rows, local, rows
from fullgraph.rows.ways import way, with_same_ways


class Picked(NamedTuple):
    """Rows that an index names.

    Attributes:
        space: what rows they are.
        route: leads to them.
        places: where ids are of several dimensions, the place of each of this rank's among what the route leads to;
            else None, and what the route leads to is the result.
        right: which dimension of the index the rows are, 1 for the last.
        is_ordered: whether no row is named twice, or what is named later stands later.
    """

    space: Space
    route: Route
    places: Tensor | None = None
    right: int = 1
    is_ordered: bool = True


def pick(func: Any, index: Tensor, space: Space) -> Picked:
    """The rows of ``space`` at a mask of one dimension or at ids. Collective.

    Raises:
        IndexError: if there is no such row, or the mask is of another length.
    """
    if index.dtype == torch.bool:
        return _at_mask(func, index, space)
    if isinstance(index, Rows):
        return _at_rows(index, space)
    if index.dim() == 1:
        listed = whole(space).at(index)
        return Picked(listed, Here(listed.chosen))  # pyright: ignore[reportAttributeAccessIssue]
    longest = max(range(index.dim()), key=lambda dim: index.shape[dim])
    dealt = Shared(space.view, index.shape[longest])
    return _at_rows(rows(dealt.localize(index.clone(), longest), dealt, longest), whole(space))


def _at_mask(func: Any, mask: Tensor, space: Space) -> Picked:
    check_mask(mask, [space.num_rows])
    chosen = whole(space).subset(mask, lambda: own_entries(mask, space))
    return Picked(chosen, Here(chosen.chosen))  # pyright: ignore[reportAttributeAccessIssue]


def own_entries(mask: Tensor, space: Space) -> Tensor:
    """This rank's rows of a mask whose first dimension are rows."""
    return local(moved(mask, space)) if isinstance(mask, Rows) else space.localize(mask, 0)


def _at_rows(ids: Rows, space: Space) -> Picked:
    line, right = line_of(ids), ids.dim() - ids._dim
    if ids.dim() == 1:
        return Picked(ids._space, way(ids, space), is_ordered=False)
    if line is None:
        line = _entries_of(ids)
        rows_first = local(ids).movedim(ids._dim, 0).shape
        places = torch.arange(line._space.num_own, device=ids.device).view(rows_first).movedim(0, ids._dim)
    else:
        shape = [-1 if dim == ids._dim else 1 for dim in range(ids.dim())]
        places = torch.arange(ids._space.num_own, device=ids.device).view(shape).expand(local(ids).shape)
    return Picked(ids._space, way(line, space), places, right, is_ordered=False)


def line_of(ids: Tensor) -> Tensor | None:
    """The ids of one dimension that ``ids`` repeat in every column, on all ranks; None if columns differ.

    It knows the ways that ``ids`` know, and is of the same kind, `Rows` or not. Collective, unless it is known.
    """
    if ids.dim() == 1:
        return ids
    if not isinstance(ids, Rows):
        return _first_column(ids) if _repeats(ids) else None
    known = ids.__dict__.get("_line")
    if known is None or known[0] != ids._version or ids.is_inference():
        plain = local(ids).movedim(ids._dim, 0)
        view, repeats = ids._space.view, torch.tensor(_repeats(plain), device=plain.device)
        repeats = repeats if view.in_piece else view.min(repeats)  # of a piece nobody else has a part
        line = with_same_ways(rows(_first_column(plain), ids._space), ids) if repeats else None
        known = (ids._version, line)
        vars(ids)["_line"] = known  # pyright: ignore[reportIndexIssue]
    return known[1]


def _first_column(ids: Tensor) -> Tensor:
    return ids[(slice(None), *[0] * (ids.dim() - 1))]


def _repeats(ids: Tensor) -> bool:
    """Whether all columns are equal; at once where they are the same memory."""
    if not ids.numel():
        return bool(ids.shape[1:].numel())
    if not any(size > 1 and ids.stride(dim) for dim, size in enumerate(ids.shape) if dim):
        return True
    columns = ids.reshape(len(ids), -1)
    return bool((columns == columns[:, :1]).all())


def _entries_of(ids: Rows) -> Rows:
    """Ids of several dimensions in one, row by row: the same object for as long as they do not change."""
    known = ids.__dict__.get("_entries")
    if known is not None and not ids.is_inference() and known[0] == ids._version:
        return known[1]
    plain = local(ids).movedim(ids._dim, 0)
    entries = rows(plain.reshape(-1), ids._space.times(plain.shape[1:].numel()))
    if not ids.is_inference():
        vars(ids)["_entries"] = (ids._version, entries)  # pyright: ignore[reportIndexIssue]
    return entries


def way_forward(func: Any, ids: Tensor, space: Space) -> Route:
    """`way`, for functions whose ids do not count from the end."""
    route = way(ids, space)
    if route.has_negative:
        raise IndexError(f"{name_of(func)}: an index is out of range, since it is negative")
    return route


def check_forward(func: Any, index: Tensor) -> None:
    """Raise an error if an id that every rank has counts from the end."""
    if index.numel() and int(index.min()) < 0:
        raise IndexError(f"{name_of(func)}: an index is out of range, since it is negative")


def check_ids(func: Any, index: Tensor) -> None:
    """Raise torch's error if these are no ids."""
    if index.dtype not in (torch.int32, torch.int64):
        raise RuntimeError(f"{name_of(func)}(): Expected dtype int32/int64 for index")


def sliced(space: Space, entry: slice) -> tuple[Space, Tensor | None]:
    """The rows of a slice, and their local rows; None if it is all of them."""
    start, stop, step = entry.indices(space.num_rows)
    if step < 1:
        raise ValueError("step must be greater than zero")
    found = (
        space if (start, max(stop, start), step) == (0, space.num_rows, 1) else whole(space).sliced(start, stop, step)
    )
    return found, None if found is space else found.chosen  # pyright: ignore[reportAttributeAccessIssue]


def beside(func: Any, key: Key, space: Space, right: int) -> dict[int, Tensor]:
    """The ids at other dimensions than the rows', as local tensors that pair with rows of ``space``.

    Args:
        func: for errors.
        key: where they stand.
        space: the rows of the result.
        right: which dimension of all ids together its rows are, 1 for the last.

    Raises:
        IndexError: if there are not as many as rows.
    """
    found = {}
    for dim, index in key.indices.items():
        if dim == key.row_dim:
            continue
        if index.dtype == torch.bool:
            refuse(func, "by a mask that has its rows where x has columns")
        if isinstance(index, Rows):
            if index.dim() - index._dim != right:
                refuse(func, "by ids whose rows would meet columns of others")
            _check_pairs(index._space.num_rows, space)
            found[dim] = local(moved(index, space))
        elif index.dim() < right or index.shape[index.dim() - right] == 1:
            found[dim] = index
        else:
            _check_pairs(index.shape[index.dim() - right], space)
            found[dim] = space.localize(index, index.dim() - right)
    return found


def _check_pairs(num_ids: int, space: Space) -> None:
    if num_ids != space.num_rows:
        raise IndexError(
            "shape mismatch: indexing tensors could not be broadcast together with shapes "
            f"[{space.num_rows}], [{num_ids}]"
        )

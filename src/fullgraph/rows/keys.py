"""What stands between the brackets of ``x[key]``, sorted: a plain view's share, tensors of ids, and the rows' share.

Of what names rows there, a mask, a slice or ids: which rows the result has, and the way to them.

Torch applies numbers, slices and None first, as views; the tensors then index the dimensions that are left. The same is
done here, but what stands where the rows are is kept apart: it speaks of all ranks' rows.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from operator import index as as_int
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from fullgraph.rows.alignment import at_rows, spread
from fullgraph.rows.calls import name_of, refuse
from fullgraph.rows.routes import Here, Route, way, with_ways
from fullgraph.rows.shapes import whole
from fullgraph.rows.space import Shared, Space
from fullgraph.rows.tensor import Rows, local, rows, sizes

WHOLE = slice(None)


@dataclass(frozen=True)
class Key:
    """A key of ``x[key]``.

    Attributes:
        entries: what stands at each dimension and at each new one, no Ellipsis; a mask of several dimensions is one.
        basic: the key of a plain view of ``x`` in which tensors do not stand yet, and the rows are whole.
        indices: the tensor at each dimension of that view that one stands at, or begins at. Masks that every rank has
            and that say nothing of rows are ids already.
        dims: which dimension of ``x`` each of these is.
        row_dim: which dimension of the view the rows are; None if ``x`` is no `Rows`.
        row: what stands there: a number, a slice, or ``slice(None)`` if a tensor does.
        row_entry: the place of it in ``entries``.
        num_dims: dimensions of the view.
    """

    entries: tuple[Any, ...]
    basic: tuple[Any, ...]
    indices: dict[int, Tensor]
    dims: dict[int, int]
    row_dim: int | None
    row: int | slice
    row_entry: int
    num_dims: int

    @classmethod
    def of(cls, func: Any, x: Tensor, key: Any) -> "Key":
        """Read a key of ``x``.

        Raises:
            IndexError: as torch's, if ``x`` has too few dimensions.
            UnsupportedOperation: of bools, bytes and nested lists.
        """
        entries = _full(func, key, x.dim())
        rows_at = x._dim if isinstance(x, Rows) else -1
        basic: list[Any] = []
        indices: dict[int, Tensor] = {}
        dims: dict[int, int] = {}
        row_dim, row, row_entry = None, WHOLE, 0
        dim = left = 0  # of x, and of the view, in which numbers leave no dimension
        for place, entry in enumerate(entries):
            spans = num_dims_of(entry)
            is_rows = dim <= rows_at < dim + spans
            if is_rows:
                row_entry, row_dim = place, left + rows_at - dim
                row = entry if isinstance(entry, int | slice) else WHOLE
            if isinstance(entry, Tensor):
                are_ids = entry.dtype != torch.bool or is_rows or isinstance(entry, Rows)
                for step, tensor in enumerate([entry] if are_ids else _ids(entry, x, dim)):
                    indices[left + step], dims[left + step] = tensor, dim + step
            basic += [WHOLE] * spans if is_rows or isinstance(entry, Tensor) else [entry]
            dim += spans
            left += 1 if entry is None else spans if is_rows or not isinstance(entry, int) else 0
        return cls(tuple(entries), tuple(basic), indices, dims, row_dim, row, row_entry, left)

    @property
    def keeps_rows(self) -> bool:
        """Whether all rows stay as they are."""
        return isinstance(self.row, slice) and self.row == WHOLE and self.row_dim not in self.covered

    @property
    def covered(self) -> set[int]:
        """The dimensions of the view that tensors stand at."""
        return {dim + step for dim, tensor in self.indices.items() for step in range(num_dims_of(tensor))}

    @property
    def num_broadcast(self) -> int:
        """Dimensions of all ids together."""
        return max(1 if tensor.dtype == torch.bool else tensor.dim() for tensor in self.indices.values())

    @property
    def together(self) -> bool:
        """Whether ids stand at dimensions next to each other."""
        return max(self.indices) - min(self.indices) + 1 == len(self.indices)

    @property
    def first(self) -> int:
        """Where the dimensions of ids stand in the result: at the first of theirs, or in front if these are apart."""
        return min(self.indices) if self.together else 0

    @property
    def rows_from_right(self) -> int:
        """Which dimension of the result the rows are, 1 for the last, if they keep their dimension."""
        return self.num_dims - len(self.indices) + (self.num_broadcast if self.indices else 0) - self.rows_after

    @property
    def rows_after(self) -> int:
        """Which dimension of the result the rows are, if `keeps_rows`."""
        assert self.row_dim is not None
        before = sum(dim not in self.indices for dim in range(self.row_dim))
        in_front = bool(self.indices) and (not self.together or self.first < self.row_dim)
        return before + (self.num_broadcast if in_front else 0)

    def full_index(self, indices: dict[int, Any]) -> tuple[Any, ...]:
        """The index of the view with these at their dimensions."""
        return tuple(indices.get(dim, WHOLE) for dim in range(self.num_dims))


def num_dims_of(entry: Any) -> int:
    """How many dimensions an entry stands for."""
    if entry is None:
        return 0
    return entry.dim() if isinstance(entry, Tensor) and entry.dtype == torch.bool else 1


def _full(func: Any, key: Any, num_dims: int) -> list[Any]:
    """The entries of a key, with whole slices for what it leaves out."""
    entries = [_entry(func, entry) for entry in (key if isinstance(key, tuple) else (key,))]
    used = sum(num_dims_of(entry) for entry in entries if entry is not Ellipsis)
    if used > num_dims:
        raise IndexError(f"too many indices for tensor of dimension {num_dims}")
    places = [place for place, entry in enumerate(entries) if entry is Ellipsis]
    if len(places) > 1:
        refuse(func, "by more than one ellipsis")
    place = places[0] if places else len(entries)
    return [*entries[:place], *[WHOLE] * (num_dims - used), *entries[place + 1 :]]


def _entry(func: Any, entry: Any) -> Any:
    """One entry as None, Ellipsis, slice, int or a tensor of bools or ids of at least one dimension."""
    if entry is None or entry is Ellipsis or isinstance(entry, slice):
        return entry
    if isinstance(entry, bool | np.bool_):
        refuse(func, "by one bool")
    if isinstance(entry, np.ndarray):
        entry = torch.as_tensor(entry)
    if isinstance(entry, Sequence):
        if not all(isinstance(each, int | np.integer) for each in entry):
            refuse(func, "by a list of other things than numbers (write a tensor)")
        entry = torch.tensor(list(entry), dtype=None if len(entry) else torch.int64)
    if not isinstance(entry, Tensor):
        return as_int(entry)
    if entry.dtype == torch.uint8 or (entry.dtype == torch.bool and entry.dim() == 0):
        refuse(func, "by bytes or by one bool")
    if entry.dtype.is_floating_point or entry.dtype.is_complex:
        raise IndexError("tensors used as indices must be long, int, byte or bool tensors")
    return entry if entry.dim() else int(entry)


def _ids(mask: Tensor, x: Tensor, dim: int) -> Sequence[Tensor]:
    """The ids that a mask of columns chooses, of each of its dimensions."""
    check_mask(mask, list(x.shape[dim : dim + mask.dim()]))
    return mask.nonzero(as_tuple=True)


def check_mask(mask: Tensor, expected: list[int]) -> None:
    """Raise torch's error if a mask is not of the shape that it stands for."""
    if sizes(mask) != expected:
        raise IndexError(
            f"The shape of the mask {sizes(mask)} does not match the shape of the indexed tensor {expected}"
        )


# -- which rows


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
        check_mask(index, [space.num_rows])
        chosen = whole(space).subset(index, lambda: at_rows(func, index, space))
        return Picked(chosen, Here(chosen.chosen))
    if isinstance(index, Rows):
        return _at_rows(index, space)
    if index.dim() == 1:
        listed = whole(space).at(index)
        return Picked(listed, Here(listed.chosen))
    longest = max(range(index.dim()), key=lambda dim: index.shape[dim])
    dealt = Shared(space.view, index.shape[longest])
    return _at_rows(rows(dealt.localize(index.clone(), longest), dealt, longest), whole(space))


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
    first_column = (slice(None), *[0] * (ids.dim() - 1))
    if not isinstance(ids, Rows):
        return ids[first_column] if _repeats(ids) else None
    known = vars(ids).get("_line")
    if known is None or ids.is_inference() or known[0] != ids._version:
        plain = local(ids).movedim(ids._dim, 0)
        view, repeats = ids._space.view, torch.tensor(_repeats(plain), device=plain.device)
        repeats = repeats if view.in_piece else view.min(repeats)  # of a piece nobody else has a part
        line = with_ways(rows(plain[first_column], ids._space), ids) if repeats else None
        known = (ids._version, line)
        vars(ids)["_line"] = known
    return known[1]


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
    known = vars(ids).get("_entries")
    if known is not None and not ids.is_inference() and known[0] == ids._version:
        return known[1]
    plain = local(ids).movedim(ids._dim, 0)
    entries = rows(plain.reshape(-1), ids._space.times(plain.shape[1:].numel()))
    if not ids.is_inference():
        vars(ids)["_entries"] = (ids._version, entries)
    return entries


def way_forward(func: Any, ids: Tensor, space: Space) -> tuple[Space, Route]:
    """What rows ids of one dimension are, and the way to those of ``space`` that they name, none from the end."""
    if isinstance(ids, Rows):
        route = way(ids, space)
        if route.has_negative:
            _refuse_negative(func)
        return ids._space, route
    check_forward(func, ids)
    return pick(func, ids, space)[:2]


def check_forward(func: Any, ids: Tensor) -> None:
    """Raise an error if an id that every rank has counts from the end."""
    if ids.numel() and int(ids.min()) < 0:
        _refuse_negative(func)


def _refuse_negative(func: Any) -> None:
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
    if (start, max(stop, start), step) == (0, space.num_rows, 1):
        return space, None
    found = whole(space).sliced(start, stop, step)
    return found, found.chosen


def entries_at(func: Any, view: Tensor, key: Key, space: Space) -> tuple[int, Tensor, Space]:
    """Where a mask of several dimensions stands at the rows and columns after them: at which, the mask, its entries."""
    (first, mask), *others = key.indices.items()
    if others or first != key.row_dim or (isinstance(mask, Rows) and mask._dim != 0):
        refuse(func, "by a mask of several dimensions whose first are not the rows, or beside others")
    columns = view.shape[first + 1 : first + mask.dim()]
    check_mask(mask, [space.num_rows, *columns])
    return first, mask, space.times(columns.numel())


def beside(func: Any, key: Key, space: Space, right: int) -> dict[int, Tensor]:
    """The ids at other dimensions than the rows', as local tensors that pair with rows of ``space``.

    These are dimension ``-right`` of all ids together.
    """
    others = {dim: index for dim, index in key.indices.items() if dim != key.row_dim}
    if any(index.dtype == torch.bool for index in others.values()):
        refuse(func, "by a mask that has its rows where x has columns")
    try:
        return {dim: spread(func, index, space, right) for dim, index in others.items()}
    except RuntimeError as error:
        raise IndexError(str(error)) from error

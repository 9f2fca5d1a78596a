"""What stands between the brackets of ``x[key]``, sorted: what a plain view does, tensors of ids, and the rows' share.

Torch applies numbers, slices and None first, as views; the tensors then index the dimensions that are left. The same is
done here, but what stands where the rows are is kept apart: it speaks of all ranks' rows.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from operator import index as as_int
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fullgraph.rows.table import refuse
from fullgraph.rows.tensor import Rows, global_shape

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
        rows_at = x._dim if isinstance(x, Rows) else None
        basic: list[Any] = []
        indices: dict[int, Tensor] = {}
        dims: dict[int, int] = {}
        row_dim, row, row_entry, dim = None, WHOLE, 0, 0
        for place, entry in enumerate(entries):
            spans = num_dims_of(entry)
            if rows_at is not None and spans and dim <= rows_at < dim + spans:
                row_entry, row_dim = place, len(basic) + rows_at - dim
                row = entry if isinstance(entry, int | slice) else WHOLE
                entry = WHOLE if isinstance(entry, int | slice) else entry
            if isinstance(entry, Tensor):
                says_rows = isinstance(entry, Rows) or (rows_at is not None and dim <= rows_at < dim + spans)
                tensors = [entry] if says_rows or entry.dtype != torch.bool else _ids(entry, x, dim)
                for step, tensor in enumerate(tensors):
                    indices[len(basic) + step], dims[len(basic) + step] = tensor, dim + step
                basic += [WHOLE] * spans
            else:
                basic.append(entry)
            dim += spans
        # numbers leave no dimension: count what is left before each place
        left = [0]
        for entry in basic:
            left.append(left[-1] + (not isinstance(entry, int)))
        return cls(
            entries=tuple(entries),
            basic=tuple(basic),
            indices={left[place]: tensor for place, tensor in indices.items()},
            dims={left[place]: dim for place, dim in dims.items()},
            row_dim=None if row_dim is None else left[row_dim],
            row=row,
            row_entry=row_entry,
            num_dims=left[-1],
        )

    @property
    def is_plain(self) -> bool:
        """Whether the plain view is all of ``x`` as it is."""
        return all(isinstance(entry, slice) and entry == WHOLE for entry in self.basic)

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
    if mask.shape != x.shape[dim : dim + mask.dim()]:
        raise IndexError(
            f"The shape of the mask {list(mask.shape)} at index 0 does not match the shape of the indexed tensor "
            f"{list(x.shape)} at index {dim}"
        )
    return mask.nonzero(as_tuple=True)


def check_mask(mask: Tensor, expected: list[int]) -> None:
    """Raise torch's error if a mask is not of the shape that it stands for."""
    shape = [int(n) for n in (global_shape(mask) if isinstance(mask, Rows) else mask.shape)]
    if shape != expected:
        raise IndexError(f"The shape of the mask {shape} does not match the shape of the indexed tensor {expected}")

"""Tensors put together and taken apart: beside each other row by row, one after another as rows of a longer space."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from fullgraph.rows.alignment import at_rows, one_space, wrapped
from fullgraph.rows.calls import dimension, name_of, named, refuse, tensors_in
from fullgraph.rows.copies import copied_part
from fullgraph.rows.keys import sliced
from fullgraph.rows.shapes import whole
from fullgraph.rows.space import Joined, Shared
from fullgraph.rows.table import called, refused
from fullgraph.rows.tensor import Rows, local, rows, without_memory


@called("cat concat concatenate")
def _cat(func: Any, tensors: Sequence[Tensor], dim: int = 0) -> Tensor:
    num_dims, of_rows = _rows_dim(func, tensors)
    dim = dimension(dim, num_dims)
    if dim == of_rows:
        return _one_after_another(func, tensors, dim)
    space = one_space(func, tensors)
    parts = [x if _is_nothing(x, num_dims) else at_rows(func, x, space, of_rows) for x in tensors]
    return rows(torch.cat(parts, dim), space, of_rows)


def _is_nothing(x: Tensor, num_dims: int) -> bool:
    """Whether torch joins this with anything: it is empty and of one dimension."""
    return not isinstance(x, Rows) and num_dims > 1 and x.dim() == 1 and len(x) == 0


def _rows_dim(func: Any, tensors: Sequence[Tensor]) -> tuple[int, int]:
    """How many dimensions tensors have that are joined, and which of them are the rows."""
    found = {(x.dim(), x._dim) for x in tensors if isinstance(x, Rows)}
    num_dims = max(n for n, _ in found)
    if any(x.dim() != num_dims and not _is_nothing(x, num_dims) for x in tensors):
        raise RuntimeError(f"Tensors must have same number of dimensions: {[x.dim() for x in tensors]}")
    if len(found) > 1:
        refuse(func, "would pair the rows of one argument with columns of another")
    return found.pop()


def _one_after_another(func: Any, tensors: Sequence[Tensor], dim: int) -> Tensor:
    """Longer rows. What every rank has is dealt out: each rank brings a share of it."""
    first = next(x for x in tensors if isinstance(x, Rows))
    parts, spaces = [], []
    for x in tensors:
        if _is_nothing(x, first.dim()):
            parts.append(x)
            continue
        spaces.append(x._space if isinstance(x, Rows) else Shared(first._space.view, x.shape[dim]))
        parts.append(local(x) if isinstance(x, Rows) else spaces[-1].localize(x, dim))
    space = spaces[0] if len(spaces) == 1 else Joined(tuple(whole(space) for space in spaces))
    if first.dim() == 1:  # torch ends the gradients of what is empty and of one dimension
        return rows(torch.cat([part.unsqueeze(1) for part in parts]).squeeze(1), space, 0)
    return rows(torch.cat(parts, dim), space, dim)


@called(
    "chunk split split_with_sizes tensor_split hsplit vsplit dsplit unsafe_chunk unsafe_split unsafe_split_with_sizes"
)
def _split(func: Any, input: Tensor, *args: Any, **kwargs: Any) -> Any:
    name, x = name_of(func), input
    if not isinstance(x, Rows) or any(isinstance(other, Rows) for other in tensors_in((args, kwargs))):
        refuse(func, "at places that rows name")
    if name in ("hsplit", "vsplit", "dsplit"):
        dim = {"hsplit": min(1, x.dim() - 1), "vsplit": 0, "dsplit": 2}[name]
    else:
        dim = dimension(named(args, kwargs, "parts dim").get("dim", 0), x.dim())
    if dim != x._dim:
        return wrapped(func(x, *args, **kwargs), x._space, x._dim)
    return tuple(_run_of_rows(x, of_all) for of_all in func(without_memory(x), *args, **kwargs))


def _run_of_rows(x: Rows, of_all: Tensor) -> Rows:
    """The rows of which ``of_all`` is the view of `without_memory`."""
    dim = x._dim
    start, length = int(of_all.storage_offset()) // of_all.stride(dim), of_all.shape[dim]
    run, chosen = sliced(whole(x._space), slice(start, start + length))
    if x._space.is_identity:  # a view, as on one process
        return rows(local(x).narrow(dim, start, length), run, dim)
    if chosen is None:
        return rows(local(x), run, dim)
    return copied_part(rows(local(x).index_select(dim, chosen), run, dim))


refused("meshgrid cartesian_prod block_diag combinations", "would pair every row with every other one")

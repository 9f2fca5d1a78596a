"""Tensors put together and taken apart: beside each other row by row, one after another as rows of a longer space."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from fullgraph.rows.alignment import at_rows, one_space, wrapped_at
from fullgraph.rows.arguments import dimension, named
from fullgraph.rows.copies import copied_part
from fullgraph.rows.shapes import first_in_front, whole
from fullgraph.rows.space import Joined, Shared, Sliced
from fullgraph.rows.table import composite, meaning, name_of, refuse, refused, tensors_in
from fullgraph.rows.tensor import Rows, local, rows, without_memory


@meaning("cat concat concatenate")
def _cat(func: Any, args: Any, kwargs: Any) -> Tensor:
    given = named(args, kwargs, "tensors dim")
    tensors = given["tensors"]
    num_dims, of_rows = _rows_dim(func, tensors)
    dim = dimension(given.get("dim", 0), num_dims)
    if dim == of_rows:
        return _one_after_another(func, tensors, dim)
    space = one_space(func, tensors)
    parts = [x if _is_nothing(x, num_dims) else at_rows(func, x, space, of_rows) for x in tensors]
    return rows(torch.cat(parts, dim), space, of_rows)


@composite("stack")
def _stack(tensors: Sequence[Tensor], dim: int = 0) -> Tensor:
    return torch.cat([x.unsqueeze(dim) for x in tensors], dim)


def _is_nothing(x: Tensor, num_dims: int) -> bool:
    """Whether torch joins this with anything: it is empty and of one dimension."""
    return not isinstance(x, Rows) and num_dims > 1 and x.dim() == 1 and len(x) == 0


def _rows_dim(func: Any, tensors: Sequence[Tensor]) -> tuple[int, int]:
    """How many dimensions tensors have that are joined, and which of them are the rows.

    Raises:
        RuntimeError: if their numbers of dimensions differ.
        UnsupportedOperation: if rows are different dimensions of them.
    """
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


def _register_stack(name: str, at_least: Callable[[Tensor], Tensor], dim: int) -> None:
    @composite(name)
    def stacked(tensors: Sequence[Tensor]) -> Tensor:
        parts = [at_least(x) for x in tensors]
        return torch.cat(parts, min(dim, parts[0].dim() - 1))


_register_stack("hstack", torch.atleast_1d, 1)
_register_stack("vstack", torch.atleast_2d, 0)
_register_stack("row_stack", torch.atleast_2d, 0)
_register_stack("dstack", torch.atleast_3d, 2)
_register_stack("column_stack", lambda x: x.reshape(-1, 1) if x.dim() <= 1 else x, 1)


@meaning(
    "chunk split split_with_sizes tensor_split hsplit vsplit dsplit unsafe_chunk unsafe_split unsafe_split_with_sizes"
)
def _split(func: Any, args: Any, kwargs: Any) -> Any:
    args, kwargs = first_in_front(args, kwargs)
    x = args[0]
    if not isinstance(x, Rows) or sum(isinstance(other, Rows) for other in tensors_in((args, kwargs))) > 1:
        refuse(func, "at places that rows name")
    if _split_dim(name_of(func), x.dim(), args, kwargs) != x._dim:
        return wrapped_at(func(*args, **kwargs), x._space, x._dim)
    return tuple(_run_of_rows(x, of_all) for of_all in func(without_memory(x), *args[1:], **kwargs))


def _split_dim(name: str, num_dims: int, args: tuple[Any, ...], kwargs: dict[str, Any]) -> int:
    """The dimension that is split, counted from 0."""
    if name in ("hsplit", "vsplit", "dsplit"):
        return {"hsplit": min(1, num_dims - 1), "vsplit": 0, "dsplit": 2}[name]
    return dimension(named(args, kwargs, "input parts dim").get("dim", 0), num_dims)


def _run_of_rows(x: Rows, of_all: Tensor) -> Rows:
    """The rows of which ``of_all`` is the view of `without_memory`."""
    dim, space = x._dim, whole(x._space)
    start, length = int(of_all.storage_offset()) // of_all.stride(dim), of_all.shape[dim]
    run = space.sliced(start, start + length, 1)
    if space.is_identity:  # a view, as on one process
        return rows(local(x).narrow(dim, start, length), run, dim)
    if not isinstance(run, Sliced):
        return rows(local(x), run, dim)
    return copied_part(rows(local(x).index_select(dim, run.chosen), run, dim))


refused("meshgrid cartesian_prod block_diag combinations", "would pair every row with every other one")

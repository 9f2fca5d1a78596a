"""Other shapes of the same entries: the rows are found again by the whole graph's sizes, never by this rank's.

One rank may own one row, or none, where the graph has many: ``squeeze()`` and ``view`` of local rows would decide
otherwise than one process does.
"""

import math
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from fullgraph.rows.adjoints import gather
from fullgraph.rows.alignment import broadcast, wrapped
from fullgraph.rows.calls import dimension, dims_of, mapped, name_of, refuse
from fullgraph.rows.copies import copied_part
from fullgraph.rows.routes import with_ways, with_ways_of_copy
from fullgraph.rows.space import Joined, Piece, Space, Times
from fullgraph.rows.table import called, composite, meaning, refused
from fullgraph.rows.tensor import Rows, functions_off, local, rows, sizes, without_memory
from fullgraph.rows.view import LooksBeyondPiece


def whole(space: Space) -> Space:
    """The space, unless it is a piece: what is made of a piece's rows would be taken for what is made of another's.

    Raises:
        LooksBeyondPiece: so that the layer runs on all edges at once.
    """
    base = space
    while isinstance(base, Times):
        base = base.parent
    if isinstance(base, Piece):
        raise LooksBeyondPiece("it makes other rows of the edges that it is given")
    return space


def _sizes_in(given: tuple[Any, ...], named: dict[str, Any]) -> list[int]:
    """Sizes as arguments: several numbers, one sequence of them, or one by name."""
    (found,) = [given] if given else named.values()
    if len(found) == 1 and isinstance(found[0], Sequence):
        (found,) = found
    return [int(size) for size in found]


# Dimensions in another order.


@called(
    """unsqueeze unsqueeze_ transpose transpose_ swapaxes swapaxes_ swapdims swapdims_ t t_ T H mT mH adjoint permute
    movedim moveaxis"""
)
def _in_other_order(func: Any, input: Rows, *args: Any, **kwargs: Any) -> Tensor:
    """Where the rows go is asked of torch itself, by a tensor without memory, each of whose sizes is another one."""
    space, of_rows = input._space, input._dim + 2
    without = torch.empty([dim + 2 for dim in range(input.dim())], device="meta")
    out = func(input, *args, **kwargs)
    return with_ways(rows(out, space, list(func(without, *args, **kwargs).shape).index(of_rows)), input)


@called("squeeze squeeze_")
def _squeeze(func: Any, input: Rows, *dim: Any, **named: Any) -> Tensor:
    before, space = input._dim, input._space
    asked = dim if len(dim) > 1 else dim[0] if dim else named.get("dim")
    dims = [dim for dim in dims_of(input, asked) if sizes(input)[dim] == 1]
    if before in dims:
        refuse(func, "of the only row (write x[0])")
    return with_ways(rows(func(input, tuple(dims)), space, before - sum(dim < before for dim in dims)), input)


# The same entries in other sizes.


@called("view reshape view_as reshape_as flatten unflatten ravel", enters=False)
def _in_other_sizes(func: Any, input: Any, *args: Any, **kwargs: Any) -> Tensor:
    """The sizes are asked of torch itself, by a tensor without memory."""
    given = [*args, *kwargs.values()]
    if given and isinstance(given[0], torch.dtype):
        if input._dim == input.dim() - 1 and given[0].itemsize != input.dtype.itemsize:
            refuse(func, "would change the number of rows")
        return rows(func(input, given[0]), input._space, input._dim)
    args, kwargs = mapped((args, kwargs), without_memory)
    if not isinstance(input, Rows):
        return func(input, *args, **kwargs)
    shape, name = func(without_memory(input), *args, **kwargs).shape, name_of(func)
    reshape = Tensor.view if name in ("view", "view_as", "unflatten") else Tensor.reshape
    out = reshaped(func, input, list(shape), reshape)
    return rows(local(out).contiguous(), out._space, out._dim) if name == "ravel" else out


def reshaped(func: Any, x: Rows, shape: list[int], reshape: Any) -> Rows:
    """`Rows` in another shape of the whole graph, of as many entries.

    ``[N, C]`` as ``[N * C]`` are as many rows, of the space `Space.times`, and back.

    Raises:
        UnsupportedOperation: if entries of several rows come together.
    """
    source, target = sizes(x), shape
    base, own = x._space, 1
    while isinstance(base, Times):
        base, own = base.parent, own * base.columns
    after = math.prod(source[x._dim + 1 :]) * own
    found = [
        (dim, columns)
        for dim, size in enumerate(target)
        if math.prod(target[:dim]) == math.prod(source[: x._dim])
        for columns in [_columns(base.num_rows, size, after, math.prod(target[dim + 1 :]))]
        if columns is not None
    ]
    if not found:
        return _copies_reshaped(func, x, source, target, reshape)
    dim, columns = min(found, key=lambda each: (each[1] != own, each[0] != x._dim))
    space = x._space if columns == own else base if columns == 1 else base.times(columns)
    out = rows(reshape(x, [*target[:dim], space.num_own, *target[dim + 1 :]]), space, dim)
    if space is x._space and [n for n in source if n != 1] == [n for n in target if n != 1]:
        with_ways(out, x)  # a view, on every rank; of others only a rank without rows may have one
    return out


def _columns(num_rows: int, size: int, after: int, rest: int) -> int | None:
    """How many columns join the rows in a dimension of ``size``, if ``rest`` of ``after`` columns do not; else None."""
    columns = after // rest if rest else size // num_rows if num_rows else 1
    return columns if num_rows * columns == size and columns * rest == after else None


def _copies_reshaped(func: Any, x: Rows, source: list[int], target: list[int], reshape: Any) -> Rows:
    """``[P, N, …]`` as ``[P * N, …]``, which are P times all rows, one time after another; and back."""
    if isinstance(x._space, Times) and x._dim > 0:  # entries of the rows' columns beside each other again
        source = [*source[: x._dim], x._space.parent.num_rows, x._space.columns * math.prod(source[x._dim + 1 :])]
        x = reshaped(func, x, source, reshape)
    before, after = source[: x._dim], source[x._dim + 1 :]
    copies = math.prod(before)
    parts = list(x._space.parts) if isinstance(x._space, Joined) else []
    if copies > 1 and target == [copies * x._space.num_rows, *after]:
        joined = Joined((whole(x._space),) * copies)
        return rows(reshape(x, [joined.num_own, *after]), joined, 0)
    lead = target[: len(target) - len(after)]
    are_copies = x._dim == 0 and len(set(parts)) == 1 and math.prod(lead[:-1]) == len(parts)
    if are_copies and lead[-1] == parts[0].num_rows and target[len(lead) :] == after:
        return rows(reshape(x, [*lead[:-1], parts[0].num_own, *after]), parts[0], len(lead) - 1)
    refuse(func, f"from {source} to {target} would put several rows together")


# The same entries several times.


@called("expand broadcast_to")
def _expand(func: Any, input: Rows, *shape: Any, implicit: bool = False, **named: Any) -> Tensor:
    return _expanded(input, _sizes_in(shape, named))


def _expanded(x: Rows, shape: list[int]) -> Tensor:
    dim = len(shape) - x.dim() + x._dim
    if dim < x._dim:
        raise RuntimeError(f"the number of sizes must be at least {x.dim()}: {shape}")
    if shape[dim] not in (-1, x._space.num_rows):
        if x._space.num_rows == 1:
            return gather(x).expand(list(map(int, shape)))  # what every rank has
        raise RuntimeError(f"The expanded size must match the existing size {x._space.num_rows} of rows: {shape}")
    local_shape = [*shape[:dim], x._space.num_own, *shape[dim + 1 :]]
    return with_ways(rows(x.expand(local_shape), x._space, dim), x)


@called("expand_as")
def _expand_as(func: Any, input: Tensor, other: Tensor) -> Tensor:
    x = input
    if isinstance(x, Rows) and not (isinstance(other, Rows) and x._space != other._space):
        return _expanded(x, sizes(other))
    (own, other), _, space, right = broadcast(func, (x, other), {})
    expanded = wrapped(own.expand(other.shape), space, -right)
    return expanded if own is x else copied_part(expanded)


@meaning("broadcast_tensors")
def _broadcast_tensors(func: Any, args: Any, kwargs: Any) -> Any:
    given = args[0] if len(args) == 1 and isinstance(args[0], list | tuple) else args
    changed, _, space, right = broadcast(func, tuple(given), {})
    made = wrapped(func(*changed), space, -right)
    found = [x if new is old else copied_part(x) for x, new, old in zip(made, changed, given, strict=True)]
    return type(made)(found)


@called("repeat tile")
def _repeat(func: Any, input: Rows, *repeats: Any, **named: Any) -> Tensor:
    x, times = input, _sizes_in(repeats, named)
    if func != Tensor.repeat:
        times = [1] * (x.dim() - len(times)) + times
    dim = len(times) - x.dim() + x._dim
    space = x._space
    if dim >= x._dim and times[dim] != 1:
        if times[dim] < 1:
            refuse(func, "of rows no times")
        space = Joined((whole(space),) * times[dim])  # own rows one time after another, as the parts of what is joined
    out = rows(x.repeat(times), space, dim)
    is_line = space is x._space and all(size == 1 for d, size in enumerate(x.shape) if d != x._dim)
    return with_ways_of_copy(out, x) if is_line else out


@called("repeat_interleave")
def _repeat_interleave(
    func: Any, input: Tensor, repeats: Any = None, dim: int | None = None, *, output_size: int | None = None
) -> Tensor:
    x = input
    if not isinstance(x, Rows) or isinstance(repeats, Rows) or repeats is None:
        refuse(func, "by numbers that differ from row to row")
    if dim is None:
        x, dim = reshaped(func, x, [math.prod(sizes(x))], Tensor.reshape), 0
    if dimension(dim, x.dim()) != x._dim:
        return rows(x.repeat_interleave(repeats, dim), x._space, x._dim)
    if isinstance(repeats, Tensor):
        refuse(func, "by numbers that differ from row to row")
    base, columns = (x._space.parent, x._space.columns) if isinstance(x._space, Times) else (x._space, 1)
    return rows(x.repeat_interleave(repeats, dim), whole(base).times(columns * repeats), x._dim)


@meaning("atleast_1d atleast_2d atleast_3d", enters=False)
def _at_least(func: Any, args: Any, kwargs: Any) -> Any:
    """With dimensions of size 1, of which torch itself says where."""
    given = args[0] if len(args) == 1 else args
    if not isinstance(given, Tensor):
        return tuple(_at_least(func, (x,), {}) for x in given)
    if not isinstance(given, Rows):
        return func(given)
    return reshaped(func, given, list(func(without_memory(given)).shape), Tensor.view)


refused("unfold", "would put several rows together")


@composite("pad")
def _pad(input: Tensor, pad: Sequence[int], mode: str = "constant", value: float | None = None) -> Tensor:
    """Along columns; longer along the rows, it is a list that every rank gets whole."""
    padded = [input.dim() - 1 - place // 2 for place, count in enumerate(pad) if count]
    if input._dim in padded:  # pyright: ignore[reportAttributeAccessIssue]
        return F.pad(gather(input), pad, mode, value)
    if mode != "constant":
        refuse(F.pad, f"of mode {mode}")
    with functions_off():
        return rows(F.pad(local(input), pad, mode, value), input._space, input._dim)  # pyright: ignore[reportAttributeAccessIssue]

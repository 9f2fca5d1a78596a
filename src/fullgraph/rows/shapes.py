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

from fullgraph.rows.alignment import broadcast, wrapped
from fullgraph.rows.arguments import dimension, dims_of, named
from fullgraph.rows.copies import copied_part
from fullgraph.rows.gathering import gather
from fullgraph.rows.space import Joined, Piece, Space, Times
from fullgraph.rows.table import composite, mapped, meaning, name_of, refuse, refused
from fullgraph.rows.tensor import Rows, functions_off, global_shape, local, rows, without_memory
from fullgraph.rows.view import LooksBeyondPiece
from fullgraph.rows.ways import with_ways, with_ways_of_copy


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


def first_in_front(args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Arguments whose first one is not given by name."""
    if args:
        return args, kwargs
    first = next(name for name in ("input", "self", "tensor") if name in kwargs)
    return (kwargs[first],), {name: value for name, value in kwargs.items() if name != first}


def sizes_in(args: tuple[Any, ...], kwargs: dict[str, Any]) -> list[int]:
    """The sizes after the first argument: several numbers, one sequence of them, or one by name."""
    (sizes,) = [args[1:]] if len(args) > 1 else kwargs.values()
    if len(sizes) == 1 and isinstance(sizes[0], Sequence):
        (sizes,) = sizes
    return [int(size) for size in sizes]


# Dimensions in another order.


@meaning(
    """unsqueeze unsqueeze_ transpose transpose_ swapaxes swapaxes_ swapdims swapdims_ t t_ T H mT mH adjoint permute
    movedim moveaxis"""
)
def _in_other_order(func: Any, args: Any, kwargs: Any) -> Tensor:
    """Where the rows go is asked of torch itself, by a tensor without memory, each of whose sizes is another one."""
    args, kwargs = first_in_front(args, kwargs)
    x, space = args[0], args[0]._space
    sizes = torch.empty([dim + 2 for dim in range(x.dim())], device="meta")
    of_rows, out = x._dim + 2, func(*args, **kwargs)
    return with_ways(rows(out, space, list(func(sizes, *args[1:], **kwargs).shape).index(of_rows)), x)


@meaning("squeeze squeeze_")
def _squeeze(func: Any, args: Any, kwargs: Any) -> Tensor:
    args, kwargs = first_in_front(args, kwargs)
    x, asked = args[0], args[1:] if len(args) > 2 else named(args, kwargs, "input dim").get("dim")
    before, space = x._dim, x._space
    dims = [dim for dim in dims_of(x, asked) if global_shape(x)[dim] == 1]
    if before in dims:
        refuse(func, "of the only row (write x[0])")
    return with_ways(rows(func(x, tuple(dims)), space, before - sum(dim < before for dim in dims)), x)


# The same entries in other sizes.


@meaning("view reshape view_as reshape_as flatten unflatten ravel", enters=False)
def _in_other_sizes(func: Any, args: Any, kwargs: Any) -> Tensor:
    """The sizes are asked of torch itself, by a tensor without memory."""
    args, kwargs = first_in_front(args, kwargs)
    x, others = args[0], mapped((args[1:], kwargs), without_memory)
    if any(isinstance(other, torch.dtype) for other in (*args, *kwargs.values())):
        (dtype,) = (*args[1:], *kwargs.values())
        if x._dim == x.dim() - 1 and dtype.itemsize != x.dtype.itemsize:
            refuse(func, "would change the number of rows")
        return rows(func(*args, **kwargs), x._space, x._dim)
    if not isinstance(x, Rows):
        return func(x, *others[0], **others[1])
    shape, name = func(without_memory(x), *others[0], **others[1]).shape, name_of(func)
    reshape = Tensor.view if name in ("view", "view_as", "unflatten") else Tensor.reshape
    out = reshaped(func, x, list(shape), reshape)
    return rows(local(out).contiguous(), out._space, out._dim) if name == "ravel" else out


def reshaped(func: Any, x: Rows, shape: list[int], reshape: Any) -> Rows:
    """`Rows` in another shape of the whole graph, of as many entries.

    ``[N, C]`` as ``[N * C]`` are as many rows, of the space `Space.times`, and back.

    Raises:
        UnsupportedOperation: if entries of several rows come together.
    """
    source, target = [int(size) for size in global_shape(x)], shape
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


@meaning("expand broadcast_to")
def _expand(func: Any, args: Any, kwargs: Any) -> Tensor:
    args, kwargs = first_in_front(args, kwargs)
    sizes = {name: value for name, value in kwargs.items() if name != "implicit"}
    return _expanded(func, args[0], sizes_in(args, sizes))


def _expanded(func: Any, x: Rows, shape: list[int]) -> Tensor:
    dim = len(shape) - x.dim() + x._dim
    if dim < x._dim:
        raise RuntimeError(f"the number of sizes must be at least {x.dim()}: {shape}")
    if shape[dim] not in (-1, x._space.num_rows):
        if x._space.num_rows == 1:
            return gather(x).expand(list(map(int, shape)))  # what every rank has
        raise RuntimeError(f"The expanded size must match the existing size {x._space.num_rows} of rows: {shape}")
    local_shape = [*shape[:dim], x._space.num_own, *shape[dim + 1 :]]
    return with_ways(rows(x.expand(local_shape), x._space, dim), x)


@meaning("expand_as")
def _expand_as(func: Any, args: Any, kwargs: Any) -> Tensor:
    given = named(args, kwargs, "input other")
    x, other = given["input"], given["other"]
    if not isinstance(other, Rows):
        return _expanded(func, x, list(other.shape))
    if isinstance(x, Rows) and x._space == other._space:
        return _expanded(func, x, list(global_shape(other)))
    (own, other), _, space, right = broadcast(func, (x, other), {})
    expanded = wrapped(own.expand(other.shape), space, right)
    return expanded if own is x else copied_part(expanded)


@meaning("broadcast_tensors")
def _broadcast_tensors(func: Any, args: Any, kwargs: Any) -> Any:
    given = args[0] if len(args) == 1 and isinstance(args[0], list | tuple) else args
    changed, _, space, right = broadcast(func, tuple(given), {})
    made = wrapped(func(*changed), space, right)
    found = [x if new is old else copied_part(x) for x, new, old in zip(made, changed, given, strict=True)]
    return type(made)(found)


@meaning("repeat tile")
def _repeat(func: Any, args: Any, kwargs: Any) -> Tensor:
    args, kwargs = first_in_front(args, kwargs)
    x, times = args[0], sizes_in(args, kwargs)
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


@meaning("repeat_interleave")
def _repeat_interleave(func: Any, args: Any, kwargs: Any) -> Tensor:
    given = named(args, kwargs, "input repeats dim")
    x, repeats, dim = given["input"], given.get("repeats"), given.get("dim")
    if not isinstance(x, Rows) or isinstance(repeats, Rows) or repeats is None:
        refuse(func, "by numbers that differ from row to row")
    if dim is None:
        x, dim = reshaped(func, x, [math.prod(global_shape(x))], Tensor.reshape), 0
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

"""Arguments that meet: rows of one space each where the other's are, and of what every rank has this rank's share."""

from typing import Any

import torch
from torch import Tensor

from fullgraph.rows.adjoints import gather
from fullgraph.rows.calls import mapped, name_of, refuse, tensors_in
from fullgraph.rows.routes import Away
from fullgraph.rows.space import Piece, Space
from fullgraph.rows.table import entered_values
from fullgraph.rows.tensor import Rows, local, rows


def one_space(func: Any, values: Any) -> Space:
    """The space in which all `Rows` among ``values`` meet: that of the first, or of one whose rows others have too.

    Raises:
        RuntimeError: if they differ in their numbers of rows, as torch does.
    """
    found: Space | None = None
    for x in tensors_in(values):
        if isinstance(x, Rows) and x._space is not found:
            if found is None or x._space.rows_of(found) is not None:
                found = x._space
            elif found.num_rows != x._space.num_rows and found.rows_of(x._space) is None:
                _sizes_differ(func, found.num_rows, x._space.num_rows)
    assert found is not None
    return found


def _sizes_differ(func: Any, one: int, other: int) -> None:
    raise RuntimeError(f"{name_of(func)}: the size of rows of one tensor must match that of another: {one}, {other}")


def moved(x: Tensor, space: Space) -> Tensor:
    """The rows of ``space`` among those of ``x``, each where ``space`` has its own; by position if they just fit.

    Raises:
        RuntimeError: if they are neither among them nor as many.
    """
    if not isinstance(x, Rows) or x._space == space:
        return x
    chosen = space.rows_of(x._space)
    if chosen is not None:
        plain = local(x)
        if isinstance(chosen, slice):
            part = plain.narrow(x._dim, chosen.start, chosen.stop - chosen.start)
        else:
            part = plain.index_select(x._dim, chosen)
        return rows(part, space, x._dim)
    if x._space.num_rows != space.num_rows:
        _sizes_differ("rows that meet", space.num_rows, x._space.num_rows)
    if isinstance(x._space, Piece):
        space.view.check()
    if space.view.is_alone and space.is_identity and x._space.is_identity:
        return rows(x.as_subclass(Tensor), space, x._dim)
    made = space.view.made
    way = ("move", x._space.key, space.key)
    route = made.get(way) or made.put(way, Away.to(x._space, space.positions), 2 * space.num_rows)
    there = route.fetch(local(x).movedim(x._dim, 0)).movedim(0, x._dim)
    return rows(there, space, x._dim)


def repeated(func: Any, values: Any) -> Any:
    """The same values; the only row of `Rows` that stand beside longer ones is what every rank has, to be repeated.

    Raises:
        UnsupportedOperation: if it would be repeated beside what every rank has, so that no rows are left.
    """
    among = [x for x in tensors_in(values) if isinstance(x, Rows)]
    if all(x._space.num_rows != 1 for x in among):
        return values
    if any(x._space.num_rows != 1 for x in among):
        on_every_rank = {id(x): entered_values([gather(x)], x._space.view)[0] for x in among if x._space.num_rows == 1}
        return mapped(values, lambda x: on_every_rank.get(id(x), x))
    right = among[0].dim() - among[0]._dim
    if any(x.shape[x.dim() - right] > 1 for x in tensors_in(values) if not isinstance(x, Rows) and x.dim() >= right):
        refuse(func, "would repeat the only row (write x[0])")
    return values


def broadcast(func: Any, args: Any, kwargs: Any) -> tuple[Any, Any, Space, int]:
    """Arguments that broadcast against each other, as local tensors.

    Returns:
        The arguments, the space and the rows' dimension counted from the right, 1 for the last.

    Raises:
        UnsupportedOperation: if rows of one would meet columns of another.
        RuntimeError: if sizes do not match, as in torch.
    """
    args, kwargs = repeated(func, (args, kwargs))
    space = one_space(func, (args, kwargs))
    from_right = {x.dim() - x._dim for x in tensors_in((args, kwargs)) if isinstance(x, Rows)}
    if len(from_right) > 1:
        refuse(func, "would pair the rows of one argument with columns of another")
    (right,) = from_right

    def cut(x: Tensor) -> Tensor:
        return moved(x, space) if isinstance(x, Rows) else spread(func, x, space, right)

    return mapped(args, cut), mapped(kwargs, cut), space, right


def at_rows(func: Any, x: Any, space: Space, dim: int = 0) -> Tensor:
    """This rank's rows of `Rows` or of what every rank has, as a plain tensor whose rows are those of ``space``.

    Raises:
        RuntimeError: if it does not have as many rows.
    """
    if isinstance(x, Rows):
        if x._dim != dim:
            refuse(func, "would pair the rows of one argument with columns of another")
        return local(moved(x, space))
    if x.shape[dim] != space.num_rows:
        _sizes_differ(func, space.num_rows, x.shape[dim])
    return space.localize(x, dim)


def spread(func: Any, x: Tensor, space: Space, right: int) -> Tensor:
    """As `at_rows`, where rows are dimension ``-right``; what has none or one there is for all rows."""
    dim = x.dim() - right
    if not isinstance(x, Rows) and (dim < 0 or x.shape[dim] == 1 != space.num_rows):
        return x
    return at_rows(func, x, space, dim)


def wrapped(out: Any, space: Space, dim: int) -> Any:
    """Every tensor of a result as `Rows`, whose rows are dimension ``dim``, of each counted from the left or right."""
    return mapped(out, lambda x: rows(x, space, dim % x.dim()))


def with_more(x: Tensor, dim: int, count: int, fill: float | bool) -> Tensor:
    """Local rows, dimension ``dim``, and some of ``fill`` after them: of none torch may not do what it does of some."""
    return torch.cat([x, x.new_full([count if d == dim else size for d, size in enumerate(x.shape)], fill)], dim)

"""Scatter and its kin: values among rows come together by an index.

Into `Rows` each value goes to the rank that has its row, sums in one message per row, and torch's own operation is done
there. Into what every rank has (a row for each graph, class or group, or a table that a plain number sized) each rank
reduces its own values, and these are put together over ranks: the result is again the same everywhere.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from fullgraph.rows.alignment import at_rows, one_space
from fullgraph.rows.arguments import dims_of, named
from fullgraph.rows.keys import WHOLE
from fullgraph.rows.picking import check_forward, line_of, way_forward
from fullgraph.rows.reducing import Reduced, reduced_over_ranks
from fullgraph.rows.routes import Here, Route
from fullgraph.rows.shapes import whole
from fullgraph.rows.space import Space
from fullgraph.rows.table import entered, entered_values, meaning, refuse
from fullgraph.rows.tensor import Rows, dim_of, global_shape, local, rows

_SIGNATURES = {
    "scatter": "input dim index src reduce",
    "scatter_add": "input dim index src",
    "scatter_reduce": "input dim index src reduce include_self",
    "index_add": "input dim index source alpha",
    "index_reduce": "input dim index source reduce include_self",
}
_OTHER_NAMES = {"add": "sum", "multiply": "prod"}
_KNOWN = {
    "scatter": {"add", "multiply"},
    "scatter_reduce": {"sum", "prod", "mean", "amax", "amin"},
    "index_reduce": {"prod", "mean", "amax", "amin"},
}


@dataclass(frozen=True, kw_only=True)
class _Call:
    """One call of these functions.

    Attributes:
        func: the function.
        x: what is written to.
        dim: along which dimension, from 0.
        index: ids, of one dimension if ``by_index``, else of those of ``src``.
        src: the values.
        reduce: sum, prod, mean, amax, amin or assign.
        include_self: whether what ``x`` has takes part.
        in_place: whether ``x`` is to be changed.
        by_index: whether it is one of the functions whose index has one dimension.
        plain: does it to plain tensors ``(x, index, src)``.
    """

    func: Any
    x: Tensor
    dim: int
    index: Tensor
    src: Tensor
    reduce: str
    include_self: bool
    in_place: bool
    by_index: bool
    plain: Any


@meaning(" ".join(f"{name} {name}_" for name in _SIGNATURES), enters=False)  # what is added up into stays everywhere
def _scatter(func: Any, args: Any, kwargs: Any) -> Tensor:
    return _scattered(_call_of(func, args, kwargs))


def _call_of(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> _Call:
    name, base = func.__name__, func.__name__.rstrip("_")
    given = named(args, kwargs, _SIGNATURES[base])
    x, index = given["input"], given["index"]
    (dim,) = dims_of(x, given["dim"])
    options = {key: given[key] for key in ("reduce", "include_self") if key in given}
    value = given.get("src", given.get("source", given.get("value")))
    src = value if isinstance(value, Tensor) else _filled(x, index, value)
    reduce = "sum" if "_add" in name else options.get("reduce")
    if src.dtype != x.dtype or (reduce is not None and reduce not in _KNOWN.get(base, {"sum"})):  # torch's own error
        func(x.new_zeros(1), 0, torch.zeros(1, dtype=torch.int64, device=x.device), src.new_zeros(1), **options)
    (_, index, src), _ = entered((x if isinstance(x, Rows) else None, index, src), {})
    if given.get("alpha", 1) != 1:
        scaled = local(src) * given["alpha"]
        src = rows(scaled, src._space, src._dim) if isinstance(src, Rows) else scaled
    by_index = name.startswith("index")
    return _Call(
        func=func,
        x=x,
        dim=dim,
        index=index.view(1) if by_index and index.dim() == 0 else index,
        src=src,
        reduce="assign" if reduce is None else _OTHER_NAMES.get(reduce, reduce),
        include_self=options.get("include_self", True),
        in_place=name.endswith("_"),
        by_index=by_index,
        plain=lambda x, index, src: func(x, dim, index, src if isinstance(value, Tensor) else value, **options),
    )


def _filled(x: Tensor, index: Tensor, value: Any) -> Tensor:
    """A number for each id."""
    own = torch.full_like(local(index), value, dtype=x.dtype)
    return rows(own, index._space, index._dim) if isinstance(index, Rows) else own


def _scattered(call: _Call) -> Tensor:
    _check_sizes(call)
    x, index, src = call.x, call.index, call.src
    if call.in_place and src is x:
        raise RuntimeError(
            "unsupported operation: values and what they are written into are the same memory; clone() one"
        )
    if isinstance(x, Rows):
        return _into_rows(call, x) if call.dim == x._dim else _into_columns(call, x)
    row_dim = dim_of(src) if not isinstance(index, Rows) else call.dim if call.by_index else index._dim
    if row_dim == call.dim:
        return _into_everywhere(call)
    if call.in_place:
        refuse(call.func, "would write rows into a tensor that every rank has; make it of rows by zeros_like(rows)")
    space = one_space(call.func, (index, src))
    own = at_rows(call.func, entered_values([x], space.view)[0], space, row_dim)
    return _into_columns(call, rows(own.view_as(own), space, row_dim))


def _check_sizes(call: _Call) -> None:
    """Raise what torch raises, and refuse more values than ids, of which it takes the first."""
    x, index, src = (list(global_shape(t) if isinstance(t, Rows) else t.shape) for t in (call.x, call.index, call.src))
    if len(src) != len(x) or len(index) != (1 if call.by_index else len(x)):
        raise RuntimeError(f"{call.func.__name__}: index and values must have as many dimensions as what they go to")
    others = [d for d in range(len(x)) if d != call.dim]
    if call.by_index:
        if index[0] != src[call.dim] or any(x[d] != src[d] for d in others):
            raise RuntimeError(f"{call.func.__name__}: sizes differ: {index} ids, values of {src}, into {x}")
        return
    if any(index[d] > src[d] for d in range(len(x))) or any(index[d] > x[d] for d in others):
        raise RuntimeError(f"{call.func.__name__}: Expected index {index} to be no larger than self {x} and src {src}")
    for d in range(len(x)):
        is_rows = [isinstance(t, Rows) and t._dim == d for t in (call.x, call.index, call.src)]
        sizes = {index[d], src[d]} if d == call.dim else {index[d], src[d], x[d]}
        if any(is_rows[1:] if d == call.dim else is_rows) and len(sizes) > 1:
            refuse(call.func, "of more rows than of ids")


def _into_columns(call: _Call, x: Rows) -> Tensor:
    """Within each row."""
    dim = x._dim
    if call.by_index and isinstance(call.index, Rows):
        refuse(call.func, "by rows of ids where x has columns")
    space = one_space(call.func, (x, call.index, call.src))
    if space is not x._space and call.in_place:
        refuse(call.func, "of a piece of edges into all of them")
    index = call.index if call.by_index else at_rows(call.func, call.index, space, dim)
    out = call.plain(at_rows(call.func, x, space, dim), index, at_rows(call.func, call.src, space, dim))
    return x if call.in_place else rows(out, space, dim)


def _into_rows(call: _Call, x: Rows) -> Tensor:
    """Along rows: values go to the ranks that have theirs."""
    dim, space, route = call.dim, *_way(call, x._space)
    sizes = call.src.shape if call.by_index else local(call.index).shape
    columns = tuple(WHOLE if d == dim else slice(size) for d, size in enumerate(sizes))
    src = at_rows(call.func, call.src, space, dim)[columns].movedim(dim, 0)
    out = x if call.in_place else rows(local(x).clone(), x._space, dim)
    target = local(out)[columns].movedim(dim, 0)
    if call.reduce == "sum" and call.include_self:
        target.add_(route.add(src, x._space.num_own))
        return out
    (values,), chosen = in_order(route, space, [src])
    chosen = chosen.view(-1, *[1] * (values.dim() - 1)).expand(values.shape)
    if call.reduce == "assign":
        target.scatter_(0, chosen, values)
    else:
        target.scatter_reduce_(0, chosen, values, call.reduce, include_self=call.include_self)
    return out


def _way(call: _Call, space: Space) -> tuple[Space, Route]:
    """Of which rows the values are, and the way from these to the rows of ``space``."""
    index, dim = call.index, 0 if call.by_index else call.dim
    line = line_of(index if isinstance(index, Rows) else index.movedim(dim, 0))
    if line is None or (isinstance(index, Rows) and index._dim != dim):
        refuse(call.func, "along rows, with another index in each column")
    if isinstance(line, Rows):
        return line._space, way_forward(call.func, line, space)
    check_forward(call.func, line)
    listed: Any = whole(space).at(line)
    return listed, Here(listed.chosen)


def in_order(route: Route, space: Space, values: list[Tensor]) -> tuple[list[Tensor], Tensor]:
    """Values of rows of ``space`` where the route leads, ordered as in one process, and their rows there."""
    positions, chosen = route.ship(space.positions)
    order = positions.argsort()
    return [route.ship(value)[0].index_select(0, order) for value in values], chosen[order]


def _into_everywhere(call: _Call) -> Tensor:
    """Into what every rank has."""
    x, dim = call.x, call.dim
    space = one_space(call.func, (call.index, call.src))
    space.view.check()
    src = at_rows(call.func, call.src, space, dim)
    index = at_rows(call.func, call.index, space, 0 if call.by_index else dim)
    if space.view.is_alone and space.is_identity:
        return call.plain(x, index, src)
    if call.by_index:
        index = index.view([-1 if d == dim else 1 for d in range(src.dim())]).expand(src.shape)
    src = src[tuple(slice(size) for size in index.shape)]
    reduced = Reduced(x.clone() if call.in_place else x, dim, index, src, space, call.include_self)
    out = reduced_over_ranks(reduced, call.reduce)
    return x.copy_(out) if call.in_place else out

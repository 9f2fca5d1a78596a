"""Scatter and its kin: values among rows come together by an index.

Into `Rows` each value goes to the rank that has its row, sums in one message per row, and torch's own operation is done
there. Into what every rank has (a row for each graph, class or group, or a table that a plain number sized) each rank
reduces its own values, and these are put together over ranks: the result is again the same everywhere. Gradients are
torch's own: a sum hands them to every value, a mean divides them, the largest value gets all, and equally large ones
share it, whichever ranks these are on.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from fullgraph.rows.adjoints import sum_over_ranks, with_gradient_of
from fullgraph.rows.alignment import at_rows, one_space
from fullgraph.rows.calls import dims_of, named, refuse
from fullgraph.rows.keys import WHOLE, line_of, way_forward
from fullgraph.rows.reductions import neutral, over_ranks
from fullgraph.rows.routes import Route
from fullgraph.rows.space import Space
from fullgraph.rows.table import entered, entered_values, meaning
from fullgraph.rows.tensor import Rows, local, rows, sizes

_SIGNATURES = {
    "scatter": "input dim index src reduce",
    "scatter_add": "input dim index src",
    "scatter_reduce": "input dim index src reduce include_self",
    "index_add": "input dim index source alpha",
    "index_copy": "input dim index source",
    "index_reduce": "input dim index source reduce include_self",
}
_OTHER_NAMES = {"add": "sum", "multiply": "prod"}
_KNOWN = {
    "scatter": {"add", "multiply"},
    "scatter_reduce": {"sum", "prod", "mean", "amax", "amin"},
    "index_reduce": {"prod", "mean", "amax", "amin"},
}


@dataclass(frozen=True, kw_only=True)
class _Scatter:
    """One call of these functions.

    Attributes:
        func: the function.
        x: what is written to.
        dim: along which dimension, from 0.
        index: for each of the values where it goes.
        src: the values.
        reduce: sum, prod, mean, amax, amin, or assign for the last of each place.
        include_self: whether what ``x`` has takes part where there are values.
        in_place: whether ``x`` is to be changed.
    """

    func: Any
    x: Tensor
    dim: int
    index: Tensor
    src: Tensor
    reduce: str
    include_self: bool
    in_place: bool

    def into(self, target: Tensor, dim: int, index: Tensor, src: Tensor) -> None:
        """As torch does it, to plain tensors."""
        if self.reduce == "assign":
            target.scatter_(dim, index, src)
        elif self.reduce == "sum" and self.include_self:
            target.scatter_add_(dim, index, src)
        else:
            target.scatter_reduce_(dim, index, src, self.reduce, include_self=self.include_self)


@meaning(" ".join(f"{name} {name}_" for name in _SIGNATURES), enters=False)  # what is added up into stays everywhere
def _scatter(func: Any, args: Any, kwargs: Any) -> Tensor:
    call = _call_of(func, args, kwargs)
    x, index, src = call.x, call.index, call.src
    _check_sizes(call)
    if call.in_place and src is x:
        raise RuntimeError(
            "unsupported operation: values and what they are written into are the same memory; clone() one"
        )
    if isinstance(x, Rows):
        return _into_rows(call, x) if call.dim == x._dim else _into_columns(call, x)
    row_dim = next(each._dim for each in (index, src) if isinstance(each, Rows))
    if row_dim == call.dim:
        return _into_everywhere(call)
    if call.in_place:
        refuse(call.func, "would write rows into a tensor that every rank has; make it of rows by zeros_like(rows)")
    space = one_space(call.func, (index, src))
    own = at_rows(call.func, entered_values([x], space.view)[0], space, row_dim)
    return _into_columns(call, rows(own.view_as(own), space, row_dim))


def _call_of(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> _Scatter:
    name, base = func.__name__, func.__name__.rstrip("_")
    given = named(args, kwargs, _SIGNATURES[base])
    x, index = given["input"], given["index"]
    (dim,) = dims_of(x, given["dim"])
    options = {key: given[key] for key in ("reduce", "include_self") if key in given}
    src: Any = given.get("src", given.get("source", given.get("value")))
    if not isinstance(src, Tensor):  # a number for each id
        own = torch.full_like(local(index), src, dtype=x.dtype)
        src = rows(own, index._space, index._dim) if isinstance(index, Rows) else own
    reduce = "sum" if "_add" in name else options.get("reduce")
    if src.dtype != x.dtype or (reduce is not None and reduce not in _KNOWN.get(base, {"sum"})):  # torch's own error
        func(x.new_zeros(1), 0, torch.zeros(1, dtype=torch.int64, device=x.device), src.new_zeros(1), **options)
    (_, index, src), _ = entered((x if isinstance(x, Rows) else None, index, src), {})
    if given.get("alpha", 1) != 1:
        scaled = local(src) * given["alpha"]
        src = rows(scaled, src._space, src._dim) if isinstance(src, Rows) else scaled
    return _Scatter(
        func=func,
        x=x,
        dim=dim,
        index=_for_columns(func, x, dim, index, src) if name.startswith("index") else index,
        src=src,
        reduce="assign" if reduce is None else _OTHER_NAMES.get(reduce, reduce),
        include_self=options.get("include_self", True),
        in_place=name.endswith("_"),
    )


def _for_columns(func: Any, x: Tensor, dim: int, index: Tensor, src: Tensor) -> Tensor:
    """An index of one dimension for every column of the values, in the same memory."""
    index = index if index.dim() else index.view(1)
    expected = [*sizes(x)[:dim], *sizes(index), *sizes(x)[dim + 1 :]]
    if index.dim() != 1 or index.dtype == torch.bool or sizes(src) != expected:
        raise RuntimeError(f"{func.__name__}: index is a vector of ids, and values are of {expected}: {sizes(src)}")
    line = local(index).long().view([-1 if d == dim else 1 for d in range(src.dim())])
    if not isinstance(index, Rows):
        return line.expand(expected)
    every = rows(line.expand([*expected[:dim], index._space.num_own, *expected[dim + 1 :]]), index._space, dim)
    if not every.is_inference():
        vars(every)["_line"] = (every._version, index)
    return every


def _check_sizes(call: _Scatter) -> None:
    """Raise what torch raises, and refuse more values than ids, of which it takes the first."""
    x, index, src = map(sizes, (call.x, call.index, call.src))
    if len(src) != len(x) or len(index) != len(x):
        raise RuntimeError(f"{call.func.__name__}: index and values must have as many dimensions as what they go to")
    if any(index[d] > src[d] or (d != call.dim and index[d] > x[d]) for d in range(len(x))):
        raise RuntimeError(f"{call.func.__name__}: Expected index {index} to be no larger than self {x} and src {src}")
    for d in range(len(x)):
        is_rows = [isinstance(t, Rows) and t._dim == d for t in (call.x, call.index, call.src)]
        counts = {index[d], src[d]} if d == call.dim else {index[d], src[d], x[d]}
        if any(is_rows[1:] if d == call.dim else is_rows) and len(counts) > 1:
            refuse(call.func, "of more rows than of ids")


def _into_columns(call: _Scatter, x: Rows) -> Tensor:
    """Within each row."""
    space = one_space(call.func, (x, call.index, call.src))
    if space is not x._space and call.in_place:
        refuse(call.func, "of a piece of edges into all of them")
    own, index, src = (at_rows(call.func, each, space, x._dim) for each in (x, call.index, call.src))
    own = own if call.in_place else own.clone()
    call.into(own, call.dim, index, src)
    return x if call.in_place else rows(own, space, x._dim)


def _into_rows(call: _Scatter, x: Rows) -> Tensor:
    """Along rows: values go to the ranks that have theirs."""
    dim = call.dim
    line = line_of(call.index if isinstance(call.index, Rows) else call.index.movedim(dim, 0))
    if line is None or (isinstance(call.index, Rows) and call.index._dim != dim):
        refuse(call.func, "along rows, with another index in each column")
    space, route = way_forward(call.func, line, x._space)
    columns = tuple(WHOLE if d == dim else slice(size) for d, size in enumerate(local(call.index).shape))
    src = at_rows(call.func, call.src, space, dim)[columns].movedim(dim, 0)
    out = x if call.in_place else rows(local(x).clone(), x._space, dim)
    target = local(out)[columns].movedim(dim, 0)
    if call.reduce == "sum" and call.include_self:
        target.add_(route.add(src, x._space.num_own))
        return out
    (values,), chosen = in_order(route, space, [src])
    call.into(target, 0, chosen.view(-1, *[1] * (values.dim() - 1)).expand(values.shape), values)
    return out


def in_order(route: Route, space: Space, values: list[Tensor]) -> tuple[list[Tensor], Tensor]:
    """Values of rows of ``space`` where the route leads, ordered as in one process, and their rows there."""
    positions, chosen = route.ship(space.positions)
    order = positions.argsort()
    return [route.ship(value)[0].index_select(0, order) for value in values], chosen[order]


# -- into what every rank has


def _into_everywhere(call: _Scatter) -> Tensor:
    x, dim = call.x, call.dim
    space = one_space(call.func, (call.index, call.src))
    space.view.check()
    index, src = (at_rows(call.func, each, space, dim) for each in (call.index, call.src))
    if space.view.is_alone and space.is_identity:
        out = x if call.in_place else x.clone()
        call.into(out, dim, index, src)
        return out
    src = src[tuple(slice(size) for size in index.shape)]
    into = x.clone() if call.in_place else x
    out = _PUT_TOGETHER[call.reduce](_Groups(**{**vars(call), "x": into, "index": index, "src": src, "space": space}))
    return x.copy_(out) if call.in_place else out


@dataclass(frozen=True, kw_only=True)
class _Groups(_Scatter):
    """Of this rank: ``x`` has a group at each place; ``index`` and ``src`` are own rows of ``space``, of one shape."""

    space: Space

    def sum(self, values: Tensor) -> Tensor:
        """The sum of each group's values, over all ranks, differentiable. Collective."""
        return sum_over_ranks(self._own_sum(values), self.space.view)

    def plain_sum(self, values: Tensor) -> Tensor:
        """As `sum`, not differentiable."""
        return self.space.view.sum(self._own_sum(values.detach()))

    def _own_sum(self, values: Tensor) -> Tensor:
        zeros = values.new_zeros(self.x.shape)
        if values.dtype == torch.bool:  # whose sum is: any
            return zeros.scatter_reduce(self.dim, self.index, values, "amax")
        return zeros.scatter_add(self.dim, self.index, values)

    def counts(self) -> Tensor:
        """How many values each group has, int64. Collective."""
        return self.plain_sum(torch.ones_like(self.src, dtype=torch.int64))

    def kept(self, neutral: float, counts: Tensor | None = None) -> Tensor:
        """What stood there before, as far as it takes part: else something that changes nothing."""
        if self.include_self:
            return self.x
        counts = self.counts() if counts is None else counts
        return torch.where(counts > 0, torch.full_like(self.x, neutral), self.x)

    @property
    def needs_grad(self) -> bool:
        """Whether somebody may ask for gradients: the same on all ranks."""
        return torch.is_grad_enabled() and (self.x.requires_grad or self.src.requires_grad)


def _prod(of: _Groups) -> Tensor:
    world = of.space.view.world
    own = torch.ones_like(of.x).scatter_reduce(of.dim, of.index, of.src, "prod")
    every = torch.stack([own if rank == world.rank else own.new_zeros(own.shape) for rank in range(world.num_ranks)])
    return of.kept(1) * sum_over_ranks(every, of.space.view).prod(0, dtype=own.dtype)


def _mean(of: _Groups) -> Tensor:
    counts = of.counts()
    total = of.kept(0, counts) + of.sum(of.src)
    counts = counts + 1 if of.include_self else counts.clamp(min=1)
    if total.is_floating_point() or total.is_complex():
        return total / counts.to(total.dtype)
    return total.div(counts, rounding_mode="floor").to(total.dtype)


def _assign(of: _Groups) -> Tensor:
    """The last value of each group. As torch has it, the gradient goes to all of them."""
    view = of.space.view
    shape = [-1 if d == of.dim else 1 for d in range(of.src.dim())]
    place = (of.space.positions + 1).view(shape).expand(of.index.shape)
    nothing = torch.zeros(of.x.shape, dtype=torch.int64, device=place.device)
    last = view.max(nothing.scatter_reduce(of.dim, of.index, place, "amax"))
    is_last = last.gather(of.dim, of.index) == place
    exact = of.plain_sum(torch.where(is_last, of.src, torch.zeros_like(of.src)))
    total = with_gradient_of(exact, of.sum(of.src)) if of.needs_grad else exact
    return torch.where(last > 0, total, of.x)


def _extremum(of: _Groups) -> Tensor:
    largest, values, before = of.reduce == "amax", of.src.detach(), of.x.detach()
    start = torch.full(before.shape, neutral(values, largest=largest), dtype=values.dtype, device=values.device)
    best = over_ranks(start.scatter_reduce(of.dim, of.index, values, of.reduce), of.space.view, largest=largest)
    touched = None if of.include_self else of.counts() > 0
    better = torch.maximum if largest else torch.minimum
    exact = better(best, before) if touched is None else torch.where(touched, best, before)
    if not of.needs_grad:
        return exact
    # the mean of all that are equally large; torch counts what stood there before even where it does not take part
    base_is, src_is = of.x == exact, of.src == exact.gather(of.dim, of.index)
    shares = base_is.to(exact.dtype) + of.plain_sum(src_is.to(exact.dtype))
    base = of.x if touched is None else torch.where(touched, before, of.x)
    total = torch.where(base_is, base, 0) + of.sum(torch.where(src_is, of.src, 0))
    return with_gradient_of(exact, total / shares)


_PUT_TOGETHER = {
    **{"sum": lambda of: of.kept(0) + of.sum(of.src), "prod": _prod, "mean": _mean, "assign": _assign},
    **{"amax": _extremum, "amin": _extremum},
}

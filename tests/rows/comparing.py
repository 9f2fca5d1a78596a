"""Runs expressions on whole tensors and on `Rows` of them, and says where values, gradients or second ones differ."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor

from fullgraph.comm import World
from fullgraph.errors import UnsupportedOperation
from fullgraph.rows import Rows, Space, View, gather
from fullgraph.rows.adjoints import sum_over_ranks
from fullgraph.rows.calls import tensors_in
from fullgraph.rows.tensor import functions_off, rows
from tests.rows.spaces import node_space

Data = dict[str, tuple[Tensor, int | None]]
"""Tensors of the whole graph by name, and which of their dimensions are rows."""

Case = Callable[[SimpleNamespace], Any]


def differences(
    world: World,
    data: Data,
    num_rows: int,
    cases: dict[str, Case],
    *,
    second: bool = True,
    tolerance: float = 1e-12,
) -> list[str]:
    """What is not as on one process, by case: empty if all is well.

    Args:
        data: its rows are ``num_rows`` of one space.
        second: whether to compare second derivatives too.
        tolerance: of values; of gradients ten times as much.
    """
    space = node_space(world, num_rows)
    found = []
    for name, case in cases.items():
        try:
            found += [f"{name}: {what}" for what in _differences_of(case, data, space, second, tolerance)]
        except Exception as error:  # other ranks may wait for this one
            raise AssertionError(name) from error
    return found


def not_raised(
    world: World, data: Data, num_rows: int, cases: dict[str, Case], error: type[Exception] = UnsupportedOperation
) -> list[str]:
    """The cases that do not raise ``error``, or, if it is torch's own, do not raise it with whole tensors either."""
    space = node_space(world, num_rows)
    found = []
    settings = [_of_rows(data, space)[0]] + ([] if error is UnsupportedOperation else [_whole(data)[0]])
    for name, case in cases.items():
        for given in settings:
            try:
                found.append(f"{name}: {case(given)!r}")
            except error:
                pass
            except Exception as other:
                found.append(f"{name}: {other!r}")
    return found


def rows_of(world: World, data: Data, num_rows: int) -> SimpleNamespace:
    """The tensors, those with rows as `Rows`."""
    return _of_rows(data, node_space(world, num_rows))[0]


def _whole(data: Data) -> tuple[SimpleNamespace, list[Tensor]]:
    leaves = {name: _leaf(x) for name, (x, _) in data.items()}
    return SimpleNamespace(**leaves), [x for x in leaves.values() if x.requires_grad]


def _leaf(x: Tensor) -> Tensor:
    return x.clone().requires_grad_(x.is_floating_point())


def _of_rows(data: Data, space: Space) -> tuple[SimpleNamespace, list[Tensor], list[int | None]]:
    given, leaves, dims = {}, [], []
    for name, (x, dim) in data.items():
        leaf = _leaf(x if dim is None else space.localize(x, dim))
        with functions_off():
            given[name] = leaf if dim is None else rows(leaf.view_as(leaf), space, dim)
        if leaf.requires_grad:
            leaves.append(leaf)
            dims.append(dim)
    return SimpleNamespace(**given), leaves, dims


def _differences_of(case: Case, data: Data, space: Space, second: bool, tolerance: float) -> list[str]:
    whole, whole_leaves = _whole(data)
    given, leaves, dims = _of_rows(data, space)
    expected, got = list(tensors_in(case(whole))), list(tensors_in(case(given)))
    if len(expected) != len(got):
        return [f"{len(got)} results, not {len(expected)}"]
    found = []
    for one, other in zip(expected, got, strict=True):
        if tuple(one.shape) != tuple(other.shape) or one.dtype != other.dtype:
            return [f"{other.shape} {other.dtype}, not {one.shape} {one.dtype}"]
        if not torch.allclose(gather(other.detach()), one.detach(), rtol=tolerance, atol=tolerance, equal_nan=True):
            found.append(f"values differ: {gather(other.detach())} for {one.detach()}")
    if not any(one.requires_grad for one in expected):
        return found
    loss, other_loss = _loss(expected, space.view), _loss(got, space.view)
    grads = torch.autograd.grad(loss, whole_leaves, create_graph=second, allow_unused=True)
    other_grads = torch.autograd.grad(other_loss, leaves, create_graph=second, allow_unused=True)
    found += _grads_differ("gradient", grads, other_grads, dims, space, 10 * tolerance)
    if not second or not any(g is not None and g.requires_grad for g in grads):
        return found
    squares = sum((g * g).sum() for g in grads if g is not None)
    assert isinstance(squares, Tensor)
    parts = [
        sum_over_ranks((g * g).sum(), space.view) if dim is not None else (g * g).sum()
        for g, dim in zip(other_grads, dims, strict=True)
        if g is not None
    ]
    grads = torch.autograd.grad(squares, whole_leaves, allow_unused=True)
    other_grads = torch.autograd.grad(torch.stack(parts).sum(), leaves, allow_unused=True)
    return found + _grads_differ("second gradient", grads, other_grads, dims, space, 10 * tolerance)


def _loss(results: list[Tensor], view: View) -> Tensor:
    """A sum of all results' entries, each with another weight and its square."""
    total = torch.zeros((), dtype=torch.float64)
    for x in results:
        if not x.requires_grad:
            continue
        weights = torch.cos(torch.arange(x.numel(), dtype=torch.float64)).view([int(n) for n in x.shape])
        if isinstance(x, Rows):
            with functions_off():
                own = x.as_subclass(Tensor) * x._space.localize(weights, x._dim)
                total = total + sum_over_ranks((own + own * own).sum(), view)
        else:
            total = total + (x * weights + (x * weights) ** 2).sum()
    return total


def _grads_differ(
    what: str,
    expected: tuple[Tensor | None, ...],
    got: tuple[Tensor | None, ...],
    dims: list[int | None],
    space: Space,
    tolerance: float,
) -> list[str]:
    found = []
    for place, (one, other, dim) in enumerate(zip(expected, got, dims, strict=True)):
        if one is None or (other is None and dim is None):
            if any(each is not None and bool(each.any()) for each in (one, other)):
                found.append(f"{what} {place} is missing")
            continue
        if other is None:  # of no rows
            other = space.localize(torch.zeros_like(one), dim or 0)
        with functions_off():
            full = other.detach() if dim is None else gather(rows(other.detach().clone(), space, dim))
        if not torch.allclose(full, one.detach(), rtol=tolerance, atol=tolerance):
            found.append(f"{what} {place} differs by {(full - one).abs().max().item()}")
    return found

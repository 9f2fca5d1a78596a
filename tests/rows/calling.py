"""Calls a function with a pattern of arguments, whole tensors or `Rows`, and keeps as data all that can be compared."""

import math
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from fullgraph.errors import UnsupportedOperation
from fullgraph.rows import Rows, Space
from fullgraph.rows.copies import is_part
from fullgraph.rows.tensor import functions_off, global_shape, rows
from tests.rows.operands import Bound, Operand, arguments, operands

REFUSED, ERROR, PART = "refused", "error", "a copied part"
TORCHS = (RuntimeError, IndexError, ValueError, TypeError, NotImplementedError)
"""What torch raises; NotImplementedError for a dtype that it has no kernel for."""

Gradients = dict[str, Any]
Place = tuple[Space, int]

_OPERANDS = operands()


@dataclass(frozen=True)
class Called:
    """What a call did.

    Attributes:
        error: what it raised, or None.
        where: it did so.
        parts: the result's parts and the arguments that it changed, detached; of rows this rank's.
        kinds: types, shapes and dtypes of the parts.
        shared: of each tensor in the result, the name of the argument that it shares memory with, "" if none, `PART`
            if it is a copy that must not be written into, or "*" if it has no entries, which tells nothing.
        held: shapes that the arguments have afterwards, by name.
        positions: of each part the space and the dimension of rows; None if it is everywhere.
        grads: the first and second gradients of a loss of all parts by argument, None where there are none.
        places: as ``positions``, of the arguments, by name, before the call.
        dtypes: of all parts and arguments.
    """

    error: BaseException | None
    where: str = ""
    parts: tuple[Any, ...] = ()
    kinds: tuple[str, ...] = ()
    shared: tuple[str, ...] = ()
    held: dict[str, str] = field(default_factory=dict)
    positions: tuple[Place | None, ...] = ()
    grads: tuple[Gradients, Gradients] = ({}, {})
    places: dict[str, Place | None] = field(default_factory=dict)
    dtypes: tuple[torch.dtype, ...] = ()

    @property
    def kind(self) -> str:
        """What must agree between ranks."""
        if self.error is not None:
            return REFUSED if isinstance(self.error, UnsupportedOperation) else ERROR
        return "; ".join(self.kinds)


def bound(spaces: dict[str, Space] | None) -> Bound:
    """Whole tensors as operands, or rows of ``spaces``."""

    def make(operand: Operand) -> tuple[Tensor, Tensor, Place | None]:
        if operand.dim is None or spaces is None:
            leaf = _leaf(operand.whole)
            return leaf, leaf.clone(), None
        space = spaces[operand.space]
        with functions_off():
            leaf = _leaf(space.localize(operand.whole, operand.dim))
            return leaf, rows(leaf.clone(), space, operand.dim), (space, operand.dim)

    return Bound(_OPERANDS, make)


def _leaf(x: Tensor) -> Tensor:
    return x.clone().requires_grad_(x.is_floating_point() or x.is_complex())


def call(function: Any, pattern: str, given: Bound) -> Called:
    """Call a function with a pattern of arguments."""
    torch.default_generator.manual_seed(5)  # torch.manual_seed keeps a traceback for each kind of device
    try:
        args, kwargs = arguments(pattern, given)
        result = function(*args, **kwargs)
        if result is NotImplemented:
            raise TypeError("not implemented for these types")
    except Exception as error:
        where = _place_of(error)
        error.__traceback__ = error.__context__ = error.__cause__ = None  # which hold all tensors of the call
        return Called(error, where)
    try:
        with functions_off():
            return _described(result, given)
    except Exception as error:
        return Called(AssertionError(f"an inconsistent result: {error!r}"), _place_of(error))


def _described(result: Any, given: Bound) -> Called:
    parts, held = _parts_of(result), given.held
    outputs = [*parts, *(x for x in held.values() if x._version > 0)]
    return Called(
        None,
        "",
        tuple(x.detach().clone() if isinstance(x, Tensor) else x for x in outputs),
        tuple(map(_describe, outputs)),
        tuple(_shared(x, held) for x in parts if isinstance(x, Tensor)),
        {name: f"{_describe(x)}{' changed' if x._version > 0 else ''}" for name, x in held.items()},
        tuple(map(_place, outputs)),
        _gradients([x for x in outputs if isinstance(x, Tensor)], given),
        given.places,
        tuple(x.dtype for x in (*outputs, *held.values()) if isinstance(x, Tensor)),
    )


def _place(x: Any) -> Place | None:
    if not isinstance(x, Rows):
        return None
    assert len(x._space.positions) == x._space.num_own  # finding them out may be collective: now, not when comparing
    return x._space, x._dim


def _place_of(error: BaseException) -> str:
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return "" if trace is None else f"{trace.tb_frame.f_code.co_filename.rsplit('/', 1)[-1]}:{trace.tb_lineno}"


def _parts_of(value: Any) -> list[Any]:
    """Tensors and everything else in a result, one after another."""
    if isinstance(value, list | tuple) and not isinstance(value, torch.Size):
        return [type(value).__name__, *(part for entry in value for part in _parts_of(entry))]
    return [value]


def _describe(part: Any) -> str:
    if isinstance(part, Tensor):
        shape = global_shape(part) if isinstance(part, Rows) else part.shape
        grad = " with gradient" if part.requires_grad else ""
        return f"{tuple(int(n) for n in shape)} {part.dtype}{grad}"
    if isinstance(part, str):
        return part
    return "int" if isinstance(part, int) and not isinstance(part, bool) else type(part).__name__


def _shared(x: Tensor, held: dict[str, Tensor]) -> str:
    if x.numel() == 0:
        return "*"
    if x.layout != torch.strided:
        return ""
    if is_part(x):
        return PART
    storage = x.untyped_storage()._cdata
    return next((name for name, each in held.items() if each.untyped_storage()._cdata == storage), "")


def _gradients(outputs: list[Tensor], given: Bound) -> tuple[Gradients, Gradients]:
    """First and second gradients of the arguments, ``({}, {})`` if there are none; an error has the name ""."""
    if not given.leaves or not any(x.requires_grad for x in outputs):
        return {}, {}
    leaves, loss = list(given.leaves.values()), _loss(outputs)
    refusal = None
    try:
        try:
            grads = torch.autograd.grad(loss, leaves, create_graph=True, retain_graph=True, allow_unused=True)
        except UnsupportedOperation as error:  # there is no second derivative
            refusal = error
            grads = torch.autograd.grad(loss, leaves, allow_unused=True)
    except (*TORCHS, AssertionError) as error:
        return {"": error}, {}
    first: Gradients = {name: _alone(g) for name, g in zip(given.leaves, grads, strict=True)}
    if refusal is not None:
        return first, {"": refusal}
    again = [_as(g, given.places[name]) for name, g in zip(given.leaves, grads, strict=True) if g is not None]
    if not any(g.requires_grad for g in again):
        return first, {}
    try:
        grads = torch.autograd.grad(_loss(again), leaves, allow_unused=True)
    except (*TORCHS, AssertionError) as error:
        return first, {"": error}
    return first, {name: _alone(g) for name, g in zip(given.leaves, grads, strict=True)}


def _alone(x: Tensor | None) -> Tensor | None:
    if x is None:
        return None
    return (x.as_subclass(Tensor) if x.layout == torch.strided else x.to_dense()).detach()


def _as(x: Tensor, place: Place | None) -> Tensor:
    """A gradient of rows as rows."""
    return x if place is None else rows(x.view_as(x), *place)


def _loss(outputs: list[Tensor]) -> Tensor:
    """A number that depends on each entry differently: this rank's share of it for rows, all of it for the others."""
    total = torch.zeros((), dtype=torch.float64)
    for x in outputs:
        if not (x.requires_grad and (x.is_floating_point() or x.is_complex())):
            continue
        shape = global_shape(x) if isinstance(x, Rows) else x.shape
        weights = torch.cos(torch.arange(math.prod(shape), dtype=torch.float64)).view(shape)
        if isinstance(x, Rows):
            weights = weights.index_select(x._dim, x._space.positions)
        x = x.as_subclass(Tensor) if x.layout == torch.strided else x.to_dense()
        if x.is_complex():
            total = total + (x.real.double() * weights).sum() + (x.imag.double() * weights.sin()).sum()
        else:
            total = total + (x.double() * weights).sum()
    return total

"""Whether backward may write into the gradient that it was given.

Autograd lets nobody do that, because others may look at the same gradient: another branch of the graph, a hook, who
called ``backward(gradient)``. Where nobody does, as between most layers, a result in its memory spares a tensor of all
rows. Autograd adds gradients in place on the same condition.
"""

import sys
from functools import cache
from typing import Any, NamedTuple

import torch
from torch import Tensor

from fullgraph.engine.backward.once import backward_once


def is_sole(grads: tuple[Tensor, ...]) -> bool:
    """Whether the first of the gradients that a backward was given is known to nobody else, and its memory neither.

    Args:
        grads: what ``backward(ctx, *grads)`` got, under `backward_once`, before anything else refers to it.
    """
    sole = sole_references()
    return sole is not None and grads[0].is_contiguous() and _references(grads) == sole


class _References(NamedTuple):
    """How often a tensor is referred to from Python, from C++, and its memory from tensors."""

    objects: int
    tensors: int
    memory: int


def _references(grads: tuple[Tensor, ...]) -> _References:
    place = grads[0].untyped_storage()._cdata
    return _References(
        sys.getrefcount(grads[0]),
        grads[0]._use_count(),  # pyright: ignore[reportAttributeAccessIssue]
        torch._C._storage_Use_Count(place),  # pyright: ignore[reportAttributeAccessIssue]
    )


@cache
def sole_references() -> _References | None:
    """Those of a gradient that nobody else knows: counted, since they depend on how Python and torch pass it on.

    None where this version of torch does not count them.
    """
    if not hasattr(Tensor, "_use_count") or not hasattr(torch._C, "_storage_Use_Count"):
        return None
    found: list[_References] = []
    with torch.enable_grad():
        start = torch.zeros(1, requires_grad=True)
        _Probe.apply(start, found).exp().backward()  # pyright: ignore[reportAttributeAccessIssue, reportOptionalMemberAccess]
    return found[0]


class _Probe(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, found: list[_References]) -> Tensor:
        ctx.found = found
        return x.clone()

    @staticmethod
    @backward_once
    def backward(ctx: Any, *grads: Tensor) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx.found.append(_references(grads))
        return grads[0], None

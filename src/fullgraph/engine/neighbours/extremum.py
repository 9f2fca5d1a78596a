"""Maximum and minimum over in-neighbours, with ties shared as PyG shares them, across blocks in any order.

PyG scatters with ``amax`` into zeros, and torch's gradient of that splits evenly among all that equal the result:
every tied source, *and the zero it started from* if the result is exactly 0 (common after a ReLU). We count the same.
Backward walks the reversed graph: a source compares its own row with the destination's result. So rows travel whole:
rounded on the wire, they would never be equal.
"""

from math import prod
from typing import Any

import torch
from torch import Tensor

from fullgraph import ops
from fullgraph.comm import fetch
from fullgraph.engine.backward.once import backward_once
from fullgraph.engine.walks.halo import with_halo
from fullgraph.engine.walks.plan import Plan
from fullgraph.engine.walks.walk import Grads
from fullgraph.graph.block import Block


def extremum_neighbours(x: Tensor, plan: Plan, *, largest: bool) -> Tensor:
    """Elementwise maximum (or minimum) of ``x`` over in-neighbours; 0 for rows without in-edges. Collective.

    Args:
        x: float ``[num_own, …]``.
        plan: the edges.
        largest: maximum if true, minimum if false.

    Returns:
        ``[num_dst, …]``, differentiable; not to be changed in place, as it is remembered where ``x`` is constant.
    """
    kind = "max" if largest else "min"
    return plan.memo.once(lambda: _walked_extremum(x, plan, largest), kind, x)


def _walked_extremum(x: Tensor, plan: Plan, largest: bool) -> Tensor:
    flat = x.reshape(len(x), prod(x.shape[1:]))  # -1 says nothing about a tensor without rows
    if plan.halo.config.mode == "halo":
        flat, plan = with_halo(flat, plan.halo, packs=True), plan.extended
    out = _Extremum.apply(flat, plan, largest)
    return out if x.dim() == 2 else out.view(plan.num_dst, *x.shape[1:])  # pyright: ignore[reportReturnType, reportOptionalMemberAccess]


class _Extremum(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, plan: Plan, largest: bool) -> Tensor:
        x, walk = x.contiguous(), plan.forward
        incoming = fetch(walk.routes, (x,), exact=True, packs=True, purpose="extremum, forward")
        value, count = nothing_seen(x, plan.num_dst, largest)

        def absorb(block: Block, rows: tuple[Tensor, ...], _: Grads) -> None:
            ops.extremum(block.indptr, block.indices, rows[0], value, count, largest=largest)

        walk.visit(absorb, (x,), incoming)
        value.masked_fill_(count == 0, 0)
        ctx.plan = plan
        ctx.save_for_backward(x, value, count)
        return value

    @staticmethod
    @backward_once
    def backward(ctx: Any, *grads: Tensor) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        x, value, count = ctx.saved_tensors
        walk, share = ctx.plan.backward, shares_of_ties(grads[0], value, count)
        incoming = fetch(walk.routes, (value, share), exact=True, purpose="extremum, backward")
        grad_x = torch.zeros_like(x)

        def give(block: Block, results: tuple[Tensor, ...], _: Grads) -> None:
            ops.extremum_backward(block.indptr, block.indices, x, results[0], results[1], grad_x)

        walk.visit(give, (value, share), incoming)
        return grad_x, None, None


def nothing_seen(x: Tensor, num_rows: int, largest: bool) -> tuple[Tensor, Tensor]:
    """Extremum and count of ties, ``[num_rows, F]`` each, before any row of ``x``'s kind ``[n, F]`` is absorbed."""
    value = x.new_full((num_rows, x.shape[1]), -torch.inf if largest else torch.inf)
    return value, torch.zeros(value.shape, dtype=torch.int32, device=x.device)


def shares_of_ties(grad: Tensor, value: Tensor, count: Tensor) -> Tensor:
    """What each tied source gets of a destination's gradient."""
    return grad / (count + (value == 0)).clamp(min=1)

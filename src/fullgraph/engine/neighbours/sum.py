"""Sums over in-neighbours, weighted or not, without a tensor with a row per edge and with at most a few foreign rows.

SAR's case 1 (Mostafa 2022, §3): where a message is linear in the source row, backward needs no source rows. We go one
step further: the gradient of an owned source row is a sum over its *destinations*, so backward walks the reversed graph
and every rank finishes its own rows; nothing is fetched again and nothing is sent back. And sums may be formed in part
where their rows are, so that fewer rows travel (`walks.partial_sums`). Only a weight that itself needs a gradient asks
for the source rows, and a second time in backward.
"""

from math import prod
from typing import Any, Literal

import torch
from torch import Tensor

from fullgraph import ops
from fullgraph.comm import fetch
from fullgraph.engine.backward.once import backward_once
from fullgraph.engine.disk.rows import StreamedRows
from fullgraph.engine.walks.halo import with_halo, without_halo
from fullgraph.engine.walks.partial_sums import WalkWeights
from fullgraph.engine.walks.plan import Plan
from fullgraph.engine.walks.walk import Grads, Walk, keeping
from fullgraph.graph.block import Block

Reduction = Literal["sum", "mean"]


def sum_neighbours(x: Tensor, plan: Plan, weight: Tensor | None = None, *, reduction: Reduction = "sum") -> Tensor:
    """``out[i] = sum of weight[e] * x[j] over edges e = (j, i)``; 0 for rows without in-edges. Collective.

    Rows and weights without gradients that come again unchanged get the result of the time before, so it may not be
    changed in place (`engine.memo`).

    Args:
        x: float ``[num_own, …]``, rows of this rank's sources; of `StreamedRows` the sum stays on disk too.
        plan: the edges.
        weight: ``[num_edges]``, or None for 1. As in torch, the sum is of the wider of the two dtypes.
        reduction: ``sum``, or ``mean``: divided by the number of in-edges; as in PyG, weights do not count.

    Returns:
        ``[num_dst, …]``, differentiable with respect to ``x`` and ``weight``.
    """
    if isinstance(x, StreamedRows):
        return x.then(lambda rows: walked_sum(rows, plan, weight, reduction), plan.num_dst)
    return plan.memo.once(lambda: walked_sum(x, plan, weight, reduction), reduction, x, weight)


def walked_sum(x: Tensor, plan: Plan, weight: Tensor | None, reduction: Reduction) -> Tensor:
    """`sum_neighbours`, computed every time; the result is the caller's own."""
    dtype = x.dtype
    if weight is not None and weight.dtype != dtype:
        dtype = torch.promote_types(dtype, weight.dtype)
        weight = weight.to(dtype)
        if weight.requires_grad or ops.accumulator(x.dtype) != dtype:  # else they are summed in it, and may stay narrow
            x = x.to(dtype)
    flat = x.reshape(len(x), prod(x.shape[1:]))  # -1 says nothing about a tensor without rows
    walked = plan
    if plan.halo.config.mode == "halo":
        flat, walked = with_halo(flat, plan.halo, packs=True), plan.extended
    if weight is not None and weight.requires_grad:
        out = _WeightedSum.apply(flat, weight, walked)
    else:
        out = _Sum.apply(flat, weight, walked, dtype)
    if x.dim() != 2:
        out = out.view(plan.num_dst, *x.shape[1:])  # pyright: ignore[reportOptionalMemberAccess]
    if reduction == "sum":
        return out  # pyright: ignore[reportReturnType]
    degree = plan.divisors(dtype)
    if x.dim() != 2:
        return out / degree.view(-1, *[1] * (x.dim() - 1))  # pyright: ignore[reportOptionalOperand]
    # No sum keeps its result for backward, so the division can use its memory; but not through a view, for which
    # autograd would copy the gradient.
    return out.div_(degree)  # pyright: ignore[reportOptionalMemberAccess]


def _walk(
    walk: Walk, x: Tensor, weights: WalkWeights, purpose: str, dtype: torch.dtype, *, packs: bool = False
) -> Tensor:
    """Sum ``x`` ``[n, F]`` along one direction of `SumWalks`, to ``dtype``; ``packs`` and ``purpose`` as in `fetch`."""
    out = x.new_empty((walk.local.num_rows, x.shape[1]), dtype=dtype)

    def add(block: Block, rows: tuple[Tensor, ...], _: Grads) -> None:
        is_own = block is walk.local
        _add(block, rows[0], out, weights.local if is_own else weights.received, overwrites=is_own)

    walk.visit(add, (x,), fetch(walk.routes, (x,), packs=packs, weight=weights.sent, purpose=purpose))
    return out


def summed_back(grad: Tensor, plan: Plan, weight: Tensor | None) -> Tensor:
    """The adjoint of the sum, for weights without a gradient: ``[num_dst, F]`` to ``[num_own, F]``. Collective."""
    has_halo = plan.halo.config.mode == "halo"
    summing = (plan.extended if has_halo else plan).sum_walks(weighted=weight is not None)
    back = _walk(summing.backward, grad.contiguous(), summing.weights(weight).turned, "sum, backward", grad.dtype)
    return without_halo(back, plan.halo) if has_halo else back


def _add(block: Block, x: Tensor, out: Tensor, weight: Tensor | None, *, overwrites: bool = False) -> None:
    edge_ids = None if weight is None else block.edge_ids
    ops.spmm(block.indptr, block.indices, x, out, weight=weight, edge_ids=edge_ids, overwrites=overwrites)


class _Sum(torch.autograd.Function):
    """Constant weights: backward is the walk over the reversed graph."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor | None, plan: Plan, dtype: torch.dtype) -> Tensor:
        ctx.plan, ctx.weight, ctx.dtype = plan, weight, x.dtype
        summing = plan.sum_walks(weighted=weight is not None)
        return _walk(summing.forward, x.contiguous(), summing.weights(weight), "sum, forward", dtype, packs=True)

    @staticmethod
    @backward_once
    def backward(ctx: Any, *grads: Tensor) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        return summed_back(grads[0], ctx.plan, ctx.weight).to(ctx.dtype), None, None, None


class _WeightedSum(torch.autograd.Function):
    """Weights with a gradient: backward fetches the source rows again (mode ``keep``: kept them) and returns theirs."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, plan: Plan) -> Tensor:
        x, walk = x.contiguous(), plan.forward
        ctx.plan, ctx.kept = plan, {} if plan.halo.config.mode == "keep" else None
        ctx.save_for_backward(x, weight)
        incoming = fetch(walk.routes, (x,), packs=True, purpose="sum with trained weights, forward")
        out = x.new_empty((plan.num_dst, x.shape[1]))

        def add(block: Block, rows: tuple[Tensor, ...], _: Grads) -> None:
            _add(block, rows[0], out, weight, overwrites=block is walk.local)

        walk.visit(add, (x,), keeping(incoming, ctx.kept))
        return out

    @staticmethod
    @backward_once
    def backward(ctx: Any, *grads: Tensor) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        x, weight = ctx.saved_tensors
        grad, walk = grads[0].contiguous(), ctx.plan.forward
        grad_x = torch.zeros_like(x) if ctx.needs_input_grad[0] else None
        grad_weight = torch.zeros_like(weight)
        per_head = grad_weight.view(len(weight), prod(weight.shape[1:]))

        def add(block: Block, rows: tuple[Tensor, ...], found: Grads) -> None:
            if found[0] is not None:
                _add(block.transposed, grad, found[0], weight)
            ops.sddmm(block.indptr, block.indices, grad, rows[0], per_head, edge_ids=block.edge_ids)

        purpose = "sum with trained weights, backward"
        again = fetch(walk.routes, (x,), packs=True, purpose=purpose) if ctx.kept is None else ctx.kept.items()
        walk.visit(add, (x,), again, (grad_x,))
        return grad_x, grad_weight, None

"""Additive attention over in-neighbours (GAT; Veličković 2018, eq. 1–4) without a tensor with a row per edge.

One pass over the blocks carries an online softmax per destination and head: ``(maximum, total, accumulator)``.
Backward recomputes every weight from ``log-sum-exp`` (the fused rematerialisation of SAR; Mostafa 2022). As a score is
a sum of a source's and a destination's number, the owner of a *source* can do this for its remote destinations once
their gradient rows and three numbers per head have come to it; only the gradient of their scores travels back. A bias
per edge lives with the owner of the destination, so with one the source rows are fetched again instead.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from fullgraph import ops
from fullgraph.comm import Returns, fetch
from fullgraph.engine.halo import with_halo
from fullgraph.engine.plan import Plan
from fullgraph.graph.block import Block


@dataclass(frozen=True, kw_only=True)
class EdgeDropout:
    """Dropout of attention weights, the same for every number of ranks.

    Attributes:
        p: share of weights dropped, ``0 <= p < 1``.
        key: which draw this is, from `Randomness`.
        edge_keys: int64 ``[num_edges]``, one per edge and the same wherever the edge lies.
    """

    p: float
    key: int
    edge_keys: Tensor

    def over(self, edge_keys: Tensor) -> ops.Dropout:
        """The kernels' form, for edges with these keys."""
        return ops.Dropout(p=self.p, key=self.key, edge_keys=edge_keys)


def attend(
    x: Tensor,
    score_src: Tensor,
    score_dst: Tensor,
    plan: Plan,
    *,
    negative_slope: float,
    bias: Tensor | None = None,
    dropout: EdgeDropout | None = None,
) -> Tensor:
    """Average sources by the softmax of scores over each destination's in-edges. Collective.

    ``out[i] = sum over e = (j, i) of softmax_i(leaky_relu(score_src[j] + score_dst[i] + bias[e])) * x[j]``

    Args:
        x: float ``[num_own, H, C]``.
        score_src: ``[num_own, H]`` of x's dtype.
        score_dst: ``[num_dst, H]`` of x's dtype.
        plan: the edges.
        negative_slope: of the leaky ReLU.
        bias: ``[num_edges, H]`` of x's dtype, or None.
        dropout: applied to the weights after the softmax, or None.

    Returns:
        ``[num_dst, H, C]``, 0 for rows without in-edges; differentiable with respect to all tensors.
    """
    if plan.halo.config.mode == "halo":
        rows, scores = with_halo(x, plan.halo), with_halo(score_src, plan.halo)
        return _MergedAttention.apply(rows, scores, score_dst, bias, plan.merged, negative_slope, dropout)  # pyright: ignore[reportReturnType]
    if bias is not None:
        return _BiasedAttention.apply(x, score_src, score_dst, bias, plan, negative_slope, dropout)  # pyright: ignore[reportReturnType]
    return _Attention.apply(x, score_src, score_dst, plan, negative_slope, dropout)  # pyright: ignore[reportReturnType]


class _State:
    """The online softmax of all destinations of this rank."""

    def __init__(self, x: Tensor, score_dst: Tensor, negative_slope: float):
        num_dst, heads = score_dst.shape
        self.score_dst, self.negative_slope = score_dst, negative_slope
        self.maximum = x.new_full((num_dst, heads), -torch.inf)
        self.total = x.new_zeros((num_dst, heads))
        self.accumulator = x.new_zeros((num_dst, heads, x.shape[2]))

    def absorb(
        self, block: Block, x: Tensor, score_src: Tensor, bias: Tensor | None, dropout: ops.Dropout | None
    ) -> None:
        ops.attention_forward(
            block.indptr,
            block.indices,
            x,
            score_src,
            self.score_dst,
            self.maximum,
            self.total,
            self.accumulator,
            negative_slope=self.negative_slope,
            bias=bias,
            edge_ids=block.edge_ids,
            dropout=dropout,
        )

    def finish(self) -> tuple[Tensor, Tensor]:
        """The output ``[num_dst, H, C]`` and log-sum-exp ``[num_dst, H]`` (0 where there are no edges)."""
        empty = self.total == 0
        total = self.total.masked_fill_(empty, 1)
        logsumexp = self.maximum.masked_fill_(empty, 0).add_(total.log())
        return self.accumulator.div_(total.unsqueeze(2)), logsumexp


class _Attention(torch.autograd.Function):
    """No bias: backward walks the reversed graph."""

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        score_src: Tensor,
        score_dst: Tensor,
        plan: Plan,
        negative_slope: float,
        dropout: EdgeDropout | None,
    ) -> Tensor:
        x, score_src, score_dst = x.contiguous(), score_src.contiguous(), score_dst.contiguous()
        walk, here = plan.forward, dropout and dropout.over(dropout.edge_keys)
        incoming = fetch(walk.routes, (x, score_src))
        state = _State(x, score_dst, negative_slope)
        state.absorb(walk.local, x, score_src, None, here)
        for number, (rows, scores) in incoming:
            block = walk.blocks[number]
            if block is not None:
                state.absorb(block, rows, scores, None, here)
            del rows, scores
        out, logsumexp = state.finish()
        ctx.plan, ctx.negative_slope, ctx.dropout = plan, negative_slope, dropout
        ctx.save_for_backward(x, score_src, score_dst, out, logsumexp)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        x, score_src, score_dst, out, logsumexp = ctx.saved_tensors
        plan, dropout, grad = ctx.plan, ctx.dropout, grads[0].contiguous()
        walk = plan.backward
        # Three numbers per destination and head travel with its gradient row, as one tensor.
        told = torch.stack([score_dst, logsumexp, (grad * out).sum(2)], dim=1)
        incoming = fetch(walk.routes, (grad, told))
        grad_x, grad_src, grad_dst = torch.zeros_like(x), torch.zeros_like(score_src), torch.zeros_like(score_dst)
        here = dropout and dropout.over(dropout.edge_keys)
        step = _BackwardStep(ctx.negative_slope, None, None)
        step.to_src(walk.local, x, score_src, grad, told, grad_x, grad_src, here)
        step.to_dst(plan.forward.local, x, score_src, grad, told, grad_dst, here)
        there = dropout and dropout.over(plan.edge_values_at_sources(dropout.edge_keys))
        returns = Returns(walk.routes, (grad_dst,))
        for number, (rows, numbers) in incoming:
            grad_scores, block = numbers.new_zeros((len(numbers), numbers.shape[2])), walk.blocks[number]
            if block is not None:
                step.to_src(block, x, score_src, rows, numbers, grad_x, grad_src, there)
                step.to_dst(block.transposed, x, score_src, rows, numbers, grad_scores, there)
            returns.post(number, (grad_scores,))
            del rows, numbers
        returns.finish()
        return grad_x, grad_src, grad_dst, None, None, None


class _BiasedAttention(torch.autograd.Function):
    """A bias per edge: backward fetches source rows again (mode ``keep``: kept them) and returns their gradients."""

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        score_src: Tensor,
        score_dst: Tensor,
        bias: Tensor,
        plan: Plan,
        negative_slope: float,
        dropout: EdgeDropout | None,
    ) -> Tensor:
        x, score_src, score_dst, bias = (
            x.contiguous(),
            score_src.contiguous(),
            score_dst.contiguous(),
            bias.contiguous(),
        )
        walk, here = plan.forward, dropout and dropout.over(dropout.edge_keys)
        incoming = fetch(walk.routes, (x, score_src))
        state = _State(x, score_dst, negative_slope)
        state.absorb(walk.local, x, score_src, bias, here)
        ctx.kept = {}
        for number, (rows, scores) in incoming:
            block = walk.blocks[number]
            if block is not None:
                state.absorb(block, rows, scores, bias, here)
            if plan.halo.config.mode == "keep":
                ctx.kept[number] = (rows, scores)
            del rows, scores
        out, logsumexp = state.finish()
        ctx.plan, ctx.negative_slope, ctx.dropout = plan, negative_slope, here
        ctx.save_for_backward(x, score_src, score_dst, bias, out, logsumexp)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        x, score_src, score_dst, bias, out, logsumexp = ctx.saved_tensors
        plan, here, grad = ctx.plan, ctx.dropout, grads[0].contiguous()
        walk = plan.forward
        kept = plan.halo.config.mode == "keep"
        incoming = iter(ctx.kept.items()) if kept else fetch(walk.routes, (x, score_src))
        told = torch.stack([score_dst, logsumexp, (grad * out).sum(2)], dim=1)
        grad_x, grad_src, grad_dst = torch.zeros_like(x), torch.zeros_like(score_src), torch.zeros_like(score_dst)
        grad_bias = torch.zeros_like(bias)
        step = _BackwardStep(ctx.negative_slope, bias, grad_bias)
        step.to_src(walk.local.transposed, x, score_src, grad, told, grad_x, grad_src, here)
        step.to_dst(walk.local, x, score_src, grad, told, grad_dst, here)
        returns = Returns(walk.routes, (grad_x, grad_src))
        for number, (rows, scores) in incoming:
            grad_rows, grad_scores, block = torch.zeros_like(rows), torch.zeros_like(scores), walk.blocks[number]
            if block is not None:
                step.to_src(block.transposed, rows, scores, grad, told, grad_rows, grad_scores, here)
                step.to_dst(block, rows, scores, grad, told, grad_dst, here)
            returns.post(number, (grad_rows, grad_scores))
            del rows, scores, grad_rows, grad_scores
        returns.finish()
        return grad_x, grad_src, grad_dst, grad_bias, None, None, None


class _MergedAttention(torch.autograd.Function):
    """Mode ``halo``: one local attention over own and halo rows."""

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        score_src: Tensor,
        score_dst: Tensor,
        bias: Tensor | None,
        block: Block,
        negative_slope: float,
        dropout: EdgeDropout | None,
    ) -> Tensor:
        x, score_src, score_dst = x.contiguous(), score_src.contiguous(), score_dst.contiguous()
        bias = None if bias is None else bias.contiguous()
        state = _State(x, score_dst, negative_slope)
        here = dropout and dropout.over(dropout.edge_keys)
        state.absorb(block, x, score_src, bias, here)
        out, logsumexp = state.finish()
        ctx.block, ctx.negative_slope, ctx.dropout = block, negative_slope, here
        ctx.save_for_backward(x, score_src, score_dst, bias, out, logsumexp)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        x, score_src, score_dst, bias, out, logsumexp = ctx.saved_tensors
        block, grad = ctx.block, grads[0].contiguous()
        told = torch.stack([score_dst, logsumexp, (grad * out).sum(2)], dim=1)
        grad_x, grad_src, grad_dst = torch.zeros_like(x), torch.zeros_like(score_src), torch.zeros_like(score_dst)
        grad_bias = None if bias is None else torch.zeros_like(bias)
        step = _BackwardStep(ctx.negative_slope, bias, grad_bias)
        step.to_src(block.transposed, x, score_src, grad, told, grad_x, grad_src, ctx.dropout)
        step.to_dst(block, x, score_src, grad, told, grad_dst, ctx.dropout)
        return grad_x, grad_src, grad_dst, grad_bias, None, None, None


@dataclass(frozen=True)
class _BackwardStep:
    """Backward over one block; ``told`` holds destinations' ``(score, log-sum-exp, <grad, out>)`` as ``[n, 3, H]``."""

    negative_slope: float
    bias: Tensor | None
    grad_bias: Tensor | None

    def to_src(
        self,
        block_t: Block,
        x: Tensor,
        score_src: Tensor,
        grad: Tensor,
        told: Tensor,
        grad_x: Tensor,
        grad_src: Tensor,
        dropout: ops.Dropout | None,
    ) -> None:
        score_dst, logsumexp, delta = (t.contiguous() for t in told.unbind(1))
        ops.attention_backward_src(
            block_t.indptr,
            block_t.indices,
            x,
            score_src,
            score_dst,
            logsumexp,
            grad,
            delta,
            grad_x,
            grad_src,
            negative_slope=self.negative_slope,
            bias=self.bias,
            edge_ids=block_t.edge_ids,
            dropout=dropout,
        )

    def to_dst(
        self,
        block: Block,
        x: Tensor,
        score_src: Tensor,
        grad: Tensor,
        told: Tensor,
        grad_dst: Tensor,
        dropout: ops.Dropout | None,
    ) -> None:
        score_dst, logsumexp, delta = (t.contiguous() for t in told.unbind(1))
        ops.attention_backward_dst(
            block.indptr,
            block.indices,
            x,
            score_src,
            score_dst,
            logsumexp,
            grad,
            delta,
            grad_dst,
            negative_slope=self.negative_slope,
            bias=self.bias,
            grad_bias=self.grad_bias,
            edge_ids=block.edge_ids,
            dropout=dropout,
        )

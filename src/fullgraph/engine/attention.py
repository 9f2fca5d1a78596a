"""Attention over in-neighbours without a tensor with a row per edge, for any of the scores in `engine.scores`.

One pass over the blocks carries an online softmax per destination and head: ``(maximum, total, accumulator)``.
Backward recomputes every weight from ``log-sum-exp`` (the fused rematerialisation of SAR; Mostafa 2022). Where little
belongs to a destination, its owner sends that and the gradient row to the owners of its sources, who do the rest; only
the gradients of the destination's own tensors travel back. Where a score needs both ends' features, or a bias per edge,
which lives with the destination, source rows are fetched again and their gradients returned.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from fullgraph import ops
from fullgraph.comm import Returns, fetch
from fullgraph.engine.halo import with_halo
from fullgraph.engine.held import HeldRows
from fullgraph.engine.input_rows import InputRows
from fullgraph.engine.ownership import is_sole
from fullgraph.engine.plan import Plan
from fullgraph.engine.scores import EdgeTerms, OnlineSoftmax, Outcome, Score
from fullgraph.engine.walk import Walk


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
    score: Score,
    plan: Plan,
    src: tuple[Tensor, ...],
    dst: tuple[Tensor, ...],
    shared: tuple[Tensor, ...] = (),
    *,
    bias: Tensor | None = None,
    dropout: EdgeDropout | None = None,
    here: HeldRows | InputRows | None = None,
    averages_heads: bool = False,
) -> Tensor:
    """Average sources by the softmax of scores over each destination's in-edges. Collective.

    ``out[i] = sum over e = (j, i) of softmax_i(score(j, i) [+ bias[e]]) * value[j]``

    Args:
        score: how an edge is scored; it says what ``src``, ``dst`` and ``shared`` are.
        plan: the edges.
        src: tensors with a row per owned source, of one float dtype.
        dst: tensors with a row per owned destination, of the same dtype.
        shared: the layer's own tensors; their gradients are this rank's share.
        bias: ``[num_edges, H]``, or None.
        dropout: applied to the weights after the softmax, or None.
        here: from which the ``src`` of other ranks' rows are made on this rank; None: they travel. `InputRows` are
            left alone where backward would ask for them again.
        averages_heads: whether to return the mean over heads. Done here, backward works on the mean's gradient, which
            is ``1 / H`` as wide as that of all heads.

    Returns:
        ``[num_dst, H, C]``, or their mean ``[num_dst, C]``; 0 for rows without in-edges; differentiable with respect
        to all tensors.
    """
    held = here if isinstance(here, HeldRows) else None
    if plan.halo.config.mode == "halo":
        src = tuple(with_halo(t, plan.halo) for t in src) if held is None else held.extend(src)
        plan, here, held = plan.extended, None, None
    settings = (score, plan, dropout, bias, averages_heads)
    if score.reverses and bias is None:
        return _ReversingAttention.apply(*settings, here, False, *src, *dst, *shared)  # pyright: ignore[reportReturnType]
    keeps = plan.halo.config.mode == "keep" and held is None
    return _RefetchingAttention.apply(*settings, held, keeps, *src, *dst, *shared)  # pyright: ignore[reportReturnType]


class _Attention(torch.autograd.Function):
    """Forward, whatever backward does."""

    @staticmethod
    def forward(
        ctx: Any,
        score: Score,
        plan: Plan,
        dropout: EdgeDropout | None,
        bias: Tensor | None,
        averages_heads: bool,
        here: HeldRows | InputRows | None,
        keeps: bool,
        *tensors: Tensor,
    ) -> Tensor:
        tensors = tuple(t.contiguous() for t in tensors)
        bias = None if bias is None else bias.contiguous()
        src, dst, shared = _split(score, tensors)
        terms = EdgeTerms(bias, None, dropout and dropout.over(dropout.edge_keys))
        state = OnlineSoftmax(plan.num_dst, score.values(src))
        walk = plan.forward
        incoming = _incoming(walk, src, here, "attention, forward")
        score.forward(walk.local, src, dst, shared, state, terms)
        kept: dict[int, tuple[Tensor, ...]] | None = {} if keeps else None
        for number, rows in incoming:
            block = walk.blocks[number]
            if block is not None:
                score.forward(block, rows, dst, shared, state, terms)
            if kept is not None:
                kept[number] = rows
            del rows  # before the next round is posted
        out, logsumexp = state.finish()
        ctx.score, ctx.plan, ctx.dropout, ctx.kept = score, plan, dropout, kept
        ctx.held = here if isinstance(here, HeldRows) else None  # an input's rows are forward's alone, and many
        # All heads' results are nobody's but ours if they are averaged, and backward needs them at its start only.
        ctx.heads = out if averages_heads else None
        ctx.save_for_backward(None if averages_heads else out, logsumexp, bias, *tensors)
        return out.mean(1) if averages_heads else out


class _ReversingAttention(_Attention):
    """Backward walks the reversed graph."""

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        score, plan, dropout = ctx.score, ctx.plan, ctx.dropout
        outcome, _, *tensors = _outcome_and_rest(ctx, grads)
        src, dst, _ = _split(score, tensors)
        walk = plan.backward
        incoming = fetch(walk.routes, (*outcome, *dst), purpose="attention, backward")
        grads_src, grads_dst = _zeros(src), _zeros(dst)
        here = EdgeTerms(None, None, dropout and dropout.over(dropout.edge_keys))
        score.backward(walk.local, src, dst, (), outcome, grads_src, grads_dst, here)
        there = EdgeTerms(None, None, dropout and dropout.over(plan.edge_values_at_sources(dropout.edge_keys)))
        returns = Returns(walk.routes, grads_dst)
        for number, (lse, grad, delta, *told) in incoming:
            block, home, known = walk.blocks[number], _zeros(told), Outcome(lse, grad, delta)
            if block is not None:
                score.backward(block, src, told, (), known, grads_src, home, there)
            returns.post(number, home)
            del lse, grad, delta, told, known, home
        returns.finish()
        return *[None] * 7, *grads_src, *grads_dst


class _RefetchingAttention(_Attention):
    """Backward fetches the source rows again (mode ``keep``: kept them) and returns their gradients."""

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        score, plan = ctx.score, ctx.plan
        outcome, bias, *tensors = _outcome_and_rest(ctx, grads)
        src, dst, shared = _split(score, tensors)
        walk = plan.forward
        fetched = ctx.kept is None
        incoming = _incoming(walk, src, ctx.held, "attention, backward") if fetched else iter(ctx.kept.items())
        grad_bias = None if bias is None else torch.zeros_like(bias)
        grads_src, grads_here = _zeros(src), _zeros((*dst, *shared))
        terms = EdgeTerms(bias, grad_bias, ctx.dropout and ctx.dropout.over(ctx.dropout.edge_keys))
        score.backward(walk.local.transposed, src, dst, shared, outcome, grads_src, grads_here, terms)
        returns = Returns(walk.routes, grads_src)
        for number, rows in incoming:
            block, home = walk.blocks[number], _zeros(rows)
            if block is not None:
                score.backward(block.transposed, rows, dst, shared, outcome, home, grads_here, terms)
            returns.post(number, home)
            del rows, home
        returns.finish()
        return None, None, None, grad_bias, None, None, None, *grads_src, *grads_here


def _incoming(
    walk: Walk, src: tuple[Tensor, ...], here: HeldRows | InputRows | None, purpose: str
) -> Iterator[tuple[int, tuple[Tensor, ...]]]:
    return fetch(walk.routes, src, purpose=purpose) if here is None else here.rounds(walk.routes)


def _split(score: Score, tensors: Any) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...], tuple[Tensor, ...]]:
    """Tensors of sources, of destinations and of the layer."""
    first, second = score.num_src, score.num_src + score.num_dst
    return tuple(tensors[:first]), tuple(tensors[first:second]), tuple(tensors[second:])


def _outcome_and_rest(ctx: Any, grads: tuple[Tensor, ...]) -> tuple[Any, ...]:
    """What backward knows of the result, then the rest of what was kept."""
    is_free, grad = is_sole(grads), grads[0]
    out, logsumexp, *rest = ctx.saved_tensors
    if out is None:
        out, num_heads = ctx.heads, ctx.heads.size(1)
        if not torch._C._autograd._get_current_graph_task_keep_graph():  # pyright: ignore[reportAttributeAccessIssue]
            ctx.heads = None
        # Each head has the same share of the average's gradient.
        grad = (grad.div_(num_heads) if is_free else grad / num_heads).unsqueeze(1)
    delta = torch.einsum("nhc,nhc->nh", grad, out)  # no product as large as `out`
    return Outcome(logsumexp, grad.contiguous(), delta), *rest


def _zeros(tensors: Any) -> tuple[Tensor, ...]:
    return tuple(torch.zeros_like(t) for t in tensors)

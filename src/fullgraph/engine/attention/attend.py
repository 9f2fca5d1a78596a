"""Attention over in-neighbours without a tensor with a row per edge, for any of the scores in `attention.scores`.

One pass over the blocks carries an online softmax per destination and head: ``(maximum, total, accumulator)``.
Backward recomputes every weight from ``log-sum-exp`` (the fused rematerialisation of SAR; Mostafa 2022). Where little
belongs to a destination, its owner sends that and the gradient row to the owners of its sources, who do the rest; only
the gradients of the destination's own tensors travel back. Where a score needs both ends' features, or a bias per edge,
which lives with the destination, source rows are fetched again and their gradients returned.
"""

from dataclasses import dataclass, replace
from functools import reduce
from typing import Any, cast

import torch
from torch import Tensor

from fullgraph import ops
from fullgraph.comm import fetch
from fullgraph.engine.attention.scores import EdgeTerms, OnlineSoftmax, Outcome, Score
from fullgraph.engine.attention.source_rows import SourceRows
from fullgraph.engine.backward.once import backward_once
from fullgraph.engine.backward.ownership import is_sole
from fullgraph.engine.backward.torch_private import may_backward_run_again
from fullgraph.engine.walks.halo import with_halo
from fullgraph.engine.walks.plan import Plan
from fullgraph.engine.walks.walk import Grads, Rounds, keeping
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
    score: Score,
    plan: Plan,
    src: tuple[Tensor, ...],
    dst: tuple[Tensor, ...],
    shared: tuple[Tensor, ...] = (),
    *,
    bias: Tensor | None = None,
    dropout: EdgeDropout | None = None,
    here: SourceRows | None = None,
    averages_heads: bool = False,
) -> Tensor:
    """Average sources by the softmax of scores over each destination's in-edges. Collective.

    ``out[i] = sum over e = (j, i) of softmax_i(score(j, i) [+ bias[e]]) * value[j]``

    Args:
        score: how an edge is scored; it says what ``src``, ``dst`` and ``shared`` are.
        plan: the edges.
        src: float tensors with a row per owned source. As in torch, all are made of the widest of their dtypes.
        dst: tensors with a row per owned destination.
        shared: the layer's own tensors; their gradients are this rank's share.
        bias: ``[num_edges, H]``, or None.
        dropout: applied to the weights after the softmax, or None.
        here: from which the ``src`` of other ranks' rows are made on this rank; None: they travel. Those that are not
            held are left alone where backward would ask for them again.
        averages_heads: whether to return the mean over heads. Done here, backward works on the mean's gradient, which
            is ``1 / H`` as wide as that of all heads.

    Returns:
        ``[num_dst, H, C]``, or their mean ``[num_dst, C]``; 0 for rows without in-edges; differentiable with respect
        to all tensors.
    """
    dtype = reduce(torch.promote_types, (t.dtype for t in (*src, *dst, *shared)))
    if score.values(src).is_cuda and torch.is_autocast_enabled("cuda"):  # whose sums and softmaxes are float32
        dtype = ops.accumulator(dtype)
    src, dst, shared = (tuple(_as_wide(t, dtype) for t in part) for part in (src, dst, shared))
    bias = None if bias is None else bias.to(dtype)
    held = here if here is not None and here.is_held else None
    if plan.halo.config.mode == "halo":
        src = tuple(with_halo(t, plan.halo) for t in src) if held is None else held.extend(src)
        plan, here, held = plan.extended, None, None
    if score.reverses and bias is None:
        function, keeps = _ReversingAttention, False
    else:
        function, here, keeps = _RefetchingAttention, held, plan.halo.config.mode == "keep" and held is None
    call = _Call(score, plan, dropout, averages_heads, here, keeps, dtype)
    return function.apply(call, bias, *src, *dst, *shared)  # pyright: ignore[reportReturnType]


@dataclass(frozen=True)
class _Call:
    """What `attend` was asked, but for what may need a gradient, and whether rows of other ranks are kept."""

    score: Score
    plan: Plan
    dropout: EdgeDropout | None
    averages_heads: bool
    here: SourceRows | None
    keeps: bool
    dtype: torch.dtype

    def terms(self, bias: Tensor | None = None, grad_bias: Tensor | None = None) -> EdgeTerms:
        """Of the plan's edges."""
        return EdgeTerms(bias, grad_bias, self.dropout and self.dropout.over(self.dropout.edge_keys))

    def terms_at_sources(self) -> EdgeTerms:
        """Of the edges from this rank's rows to other ranks. Collective the first time."""
        dropout = self.dropout
        return EdgeTerms(None, None, dropout and dropout.over(self.plan.edge_values_at_sources(dropout.edge_keys)))

    def rounds(self, src: tuple[Tensor, ...], purpose: str) -> Rounds:
        """Source tensors of other ranks' rows."""
        routes = self.plan.forward.routes
        return fetch(routes, src, purpose=purpose) if self.here is None else self.here.rounds(routes)


class _Attention(torch.autograd.Function):
    """Forward, whatever backward does."""

    @staticmethod
    def forward(ctx: Any, call: _Call, bias: Tensor | None, *tensors: Tensor) -> Tensor:
        tensors = tuple(t.contiguous() for t in tensors)
        bias = None if bias is None else bias.contiguous()
        src, dst, shared = _split(call.score, tensors)
        terms = call.terms(bias)
        state = OnlineSoftmax(call.plan.num_dst, call.score.values(src))
        incoming, ctx.kept = call.rounds(src, "attention, forward"), {} if call.keeps else None

        def absorb(block: Block, rows: tuple[Tensor, ...], _: Grads) -> None:
            call.score.forward(block, rows, dst, shared, state, terms)

        call.plan.forward.visit(absorb, src, keeping(incoming, ctx.kept))
        out, logsumexp = state.finish()
        out = out.to(call.dtype)
        is_held = call.here is not None and call.here.is_held  # an input's rows are forward's alone, and many
        ctx.call = call if is_held else replace(call, here=None)
        # All heads' results are nobody's but ours if they are averaged, and backward needs them at its start only.
        ctx.heads = out if call.averages_heads else None
        ctx.save_for_backward(None if call.averages_heads else out, logsumexp, bias, *tensors)
        return out.mean(1) if call.averages_heads else out


class _ReversingAttention(_Attention):
    """Backward walks the reversed graph."""

    @staticmethod
    @backward_once
    def backward(ctx: Any, *grads: Tensor) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        call: _Call = ctx.call
        outcome, _, *tensors = _outcome_and_rest(ctx, grads)
        src, dst, _ = _split(call.score, tensors)
        walk = call.plan.backward
        grads_src, grads_dst = _zeros(src), _zeros(dst)
        here, there = call.terms(), call.terms_at_sources()

        def add(block: Block, known: tuple[Tensor, ...], found: Grads) -> None:
            outcome, dst, terms = Outcome(*known[:3]), known[3:], here if block is walk.local else there
            call.score.backward(block, src, dst, (), outcome, grads_src, cast(Any, found), terms)

        own = (*outcome, *dst)
        walk.visit(add, own, fetch(walk.routes, own, purpose="attention, backward"), grads_dst)
        return None, None, *grads_src, *grads_dst


class _RefetchingAttention(_Attention):
    """Backward fetches the source rows again (mode ``keep``: kept them) and returns their gradients."""

    @staticmethod
    @backward_once
    def backward(ctx: Any, *grads: Tensor) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        call: _Call = ctx.call
        outcome, bias, *tensors = _outcome_and_rest(ctx, grads)
        src, dst, shared = _split(call.score, tensors)
        grad_bias = None if bias is None else torch.zeros_like(bias)
        grads_src, grads_here = _zeros(src), _zeros((*dst, *shared))
        terms = call.terms(bias, grad_bias)

        def add(block: Block, rows: tuple[Tensor, ...], found: Grads) -> None:
            call.score.backward(block.transposed, rows, dst, shared, outcome, cast(Any, found), grads_here, terms)

        again = call.rounds(src, "attention, backward") if ctx.kept is None else ctx.kept.items()
        call.plan.forward.visit(add, src, again, grads_src)
        return None, grad_bias, *grads_src, *grads_here


def _as_wide(tensor: Tensor, dtype: torch.dtype) -> Tensor:
    """A tensor in the widest dtype, or as it is where kernels take rows of 16 bits beside float32."""
    is_taken = ops.mixes_dtypes(tensor) and ops.accumulator(tensor.dtype) == dtype
    return tensor if is_taken else tensor.to(dtype)


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
        if not may_backward_run_again():
            ctx.heads = None
        # Each head has the same share of the average's gradient.
        grad = (grad.div_(num_heads) if is_free else grad / num_heads).unsqueeze(1)
    grad = grad.contiguous()
    return Outcome(logsumexp, grad, ops.head_dots(grad, out)), *rest


def _zeros(tensors: Any) -> tuple[Tensor, ...]:
    return tuple(torch.zeros_like(t) for t in tensors)

"""Additive attention (GAT's) over a block, fused: no tensor with a row per edge, in forward or backward.

An edge j -> i has, per head, raw = score_src[j] + score_dst[i] + bias[edge] and logit = leaky_relu(raw). Forward
carries an online softmax from block to block. Backward rebuilds w = exp(logit - logsumexp[i]) and needs
delta[i] = <grad[i], out[i]>, where out[i] = acc[i] / total[i] and logsumexp[i] = maximum[i] + log(total[i]).
"""

from torch import Tensor

from fullgraph.ops import reference_attention
from fullgraph.ops.attention_edges import check_edges, check_grad, check_grad_bias, shape_of
from fullgraph.ops.checks import check
from fullgraph.ops.keep import Dropout
from fullgraph.ops.operators import operator


@operator(reference_attention.attention_forward, "maximum", "total", "acc")
def attention_forward(
    indptr: Tensor,
    indices: Tensor,
    x: Tensor,
    score_src: Tensor,
    score_dst: Tensor,
    maximum: Tensor,
    total: Tensor,
    acc: Tensor,
    *,
    negative_slope: float,
    bias: Tensor | None = None,
    edge_ids: Tensor | None = None,
    dropout: Dropout | None = None,
) -> None:
    """Absorb a block into a running softmax-weighted sum. Rows are destinations, columns sources.

    Args:
        x: [S, H, C] source rows.
        score_src: [S, H].
        score_dst: [n, H].
        maximum: [n, H], updated: the largest logit met; starts at -inf.
        total: [n, H], updated: sum of exp(logit - maximum), without dropout; starts at 0.
        acc: [n, H, C], updated: sum of exp(logit - maximum) * keep / (1 - p) * x; starts at 0.
        bias: [E, H] or None.

    Raises:
        InputError: on tensors that do not fit together.
    """
    n, (num_columns, num_heads, channels) = score_dst.size(0), shape_of("x", x)
    check_edges(indptr, indices, x, edge_ids, bias, dropout, num_rows=n)
    like = (x.dtype, indptr.device)
    check("score_src", score_src, [num_columns, num_heads], *like)
    for name, tensor in (("score_dst", score_dst), ("maximum", maximum), ("total", total)):
        check(name, tensor, [n, num_heads], *like)
    check("acc", acc, [n, num_heads, channels], *like)


@operator(reference_attention.attention_backward, "grad_x", "grad_score_src", "grad_score_dst", "grad_bias")
def attention_backward(
    indptr: Tensor,
    indices: Tensor,
    x: Tensor,
    score_src: Tensor,
    score_dst: Tensor,
    logsumexp: Tensor,
    grad: Tensor,
    delta: Tensor,
    grad_x: Tensor,
    grad_score_src: Tensor,
    grad_score_dst: Tensor,
    *,
    grad_bias: Tensor | None = None,
    negative_slope: float,
    bias: Tensor | None = None,
    edge_ids: Tensor | None = None,
    dropout: Dropout | None = None,
) -> None:
    """Add all gradients of a block. The block is the transposed one: rows are sources, columns destinations.

    Args:
        x: [n, H, C] source rows.
        score_src: [n, H].
        score_dst, logsumexp, delta: [S, H] of the destinations.
        grad: [S, H, C], the gradient of the normalised output; [S, 1, C] where all heads have the same.
        grad_x: [n, H, C], added into.
        grad_score_src: [n, H], added into.
        grad_score_dst: [S, H], added into.
        grad_bias: [E, H] or None, added into.

    Raises:
        InputError: on tensors that do not fit together.
    """
    n, num_heads, channels = shape_of("x", x)
    check_edges(indptr, indices, x, edge_ids, bias, dropout, num_rows=n)
    num_columns, like = score_dst.size(0), (x.dtype, indptr.device)
    check("score_src", score_src, [n, num_heads], *like)
    for name, tensor in (("score_dst", score_dst), ("logsumexp", logsumexp), ("delta", delta)):
        check(name, tensor, [num_columns, num_heads], *like)
    check_grad(grad, [num_columns, num_heads, channels], *like)
    check("grad_x", grad_x, [n, num_heads, channels], *like)
    check("grad_score_src", grad_score_src, [n, num_heads], *like)
    check("grad_score_dst", grad_score_dst, [num_columns, num_heads], *like)
    check_grad_bias(grad_bias, indices, x, edge_ids)

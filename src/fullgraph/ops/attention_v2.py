"""GATv2's attention over a block, fused: no tensor with a row per edge, in forward or backward.

An edge j -> i has, per head, logit = <att, leaky_relu(x_src[j] + x_dst[i])> + bias[edge], and its message is x_src[j].
Softmax state, log-sum-exp and delta are those of `fullgraph.ops.attention`.
"""

from torch import Tensor

from fullgraph.ops import reference_attention
from fullgraph.ops.attention_edges import check_edges, check_grad, check_grad_bias, shape_of
from fullgraph.ops.checks import check
from fullgraph.ops.keep import Dropout
from fullgraph.ops.operators import operator


@operator(reference_attention.attention_v2_forward, "maximum", "total", "acc")
def attention_v2_forward(
    indptr: Tensor,
    indices: Tensor,
    x_src: Tensor,
    x_dst: Tensor,
    att: Tensor,
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
        x_src: [S, H, C] source rows: one end of the score, and the messages.
        x_dst: [n, H, C] destination rows.
        att: [H, C].
        maximum: [n, H], updated: the largest logit met; starts at -inf.
        total: [n, H], updated: sum of exp(logit - maximum), without dropout; starts at 0.
        acc: [n, H, C], updated: sum of exp(logit - maximum) * keep / (1 - p) * x_src; starts at 0.
        bias: [E, H] or None.

    Raises:
        InputError: on tensors that do not fit together.
    """
    n, num_heads, channels = shape_of("x_dst", x_dst)
    check_edges(indptr, indices, x_dst, edge_ids, bias, dropout, num_rows=n)
    like = (x_dst.dtype, indptr.device)
    check("x_src", x_src, [-1, num_heads, channels], *like)
    check("att", att, [num_heads, channels], *like)
    check("maximum", maximum, [n, num_heads], *like)
    check("total", total, [n, num_heads], *like)
    check("acc", acc, [n, num_heads, channels], *like)


@operator(reference_attention.attention_v2_backward_src, "grad_x_src")
def attention_v2_backward_src(
    indptr: Tensor,
    indices: Tensor,
    x_src: Tensor,
    x_dst: Tensor,
    att: Tensor,
    logsumexp: Tensor,
    grad: Tensor,
    delta: Tensor,
    grad_x_src: Tensor,
    *,
    negative_slope: float,
    bias: Tensor | None = None,
    edge_ids: Tensor | None = None,
    dropout: Dropout | None = None,
) -> None:
    """Add a block's gradients to its sources, as messages and in the score. The block is the transposed one.

    Args:
        x_src: [n, H, C] source rows, the block's rows.
        x_dst: [S, H, C] destination rows, its columns.
        att: [H, C].
        logsumexp, delta: [S, H] of the destinations.
        grad: [S, H, C], the gradient of the normalised output; [S, 1, C] where all heads have the same.
        grad_x_src: [n, H, C], added into.

    Raises:
        InputError: on tensors that do not fit together.
    """
    n, num_heads, channels = shape_of("x_src", x_src)
    check_edges(indptr, indices, x_src, edge_ids, bias, dropout, num_rows=n)
    num_columns, like = x_dst.size(0), (x_src.dtype, indptr.device)
    check("att", att, [num_heads, channels], *like)
    check("x_dst", x_dst, [num_columns, num_heads, channels], *like)
    check_grad(grad, [num_columns, num_heads, channels], *like)
    for name, tensor in (("logsumexp", logsumexp), ("delta", delta)):
        check(name, tensor, [num_columns, num_heads], *like)
    check("grad_x_src", grad_x_src, [n, num_heads, channels], *like)


@operator(reference_attention.attention_v2_backward_dst, "grad_x_dst", "grad_att", "grad_bias")
def attention_v2_backward_dst(
    indptr: Tensor,
    indices: Tensor,
    x_src: Tensor,
    x_dst: Tensor,
    att: Tensor,
    logsumexp: Tensor,
    grad: Tensor,
    delta: Tensor,
    grad_x_dst: Tensor,
    grad_att: Tensor,
    *,
    grad_bias: Tensor | None = None,
    negative_slope: float,
    bias: Tensor | None = None,
    edge_ids: Tensor | None = None,
    dropout: Dropout | None = None,
) -> None:
    """Add a block's gradients to its destinations, to att and to the biases. Rows are destinations, columns sources.

    Args:
        x_src: [S, H, C] source rows.
        x_dst: [n, H, C] destination rows.
        att: [H, C].
        logsumexp, delta: [n, H].
        grad: [n, H, C], the gradient of the normalised output; [n, 1, C] where all heads have the same.
        grad_x_dst: [n, H, C], added into.
        grad_att: [H, C], added into.
        grad_bias: [E, H] or None, added into.

    Raises:
        InputError: on tensors that do not fit together.
    """
    n, num_heads, channels = shape_of("x_dst", x_dst)
    check_edges(indptr, indices, x_dst, edge_ids, bias, dropout, num_rows=n)
    like = (x_dst.dtype, indptr.device)
    check("x_src", x_src, [-1, num_heads, channels], *like)
    for name, tensor in (("att", att), ("grad_att", grad_att)):
        check(name, tensor, [num_heads, channels], *like)
    for name, tensor in (("logsumexp", logsumexp), ("delta", delta)):
        check(name, tensor, [n, num_heads], *like)
    check_grad(grad, [n, num_heads, channels], *like)
    check("grad_x_dst", grad_x_dst, [n, num_heads, channels], *like)
    check_grad_bias(grad_bias, indices, x_dst, edge_ids)

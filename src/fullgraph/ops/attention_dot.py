"""Scaled dot-product attention over a block, fused: no tensor with a row per edge, in forward or backward.

An edge j -> i has, per head, logit = scale * <query[i], key[j]> + bias[edge], and its message is value[j].
Softmax state, log-sum-exp and delta are those of `fullgraph.ops.attention`.
"""

from torch import Tensor

from fullgraph.ops import reference_attention
from fullgraph.ops.attention_edges import check_edges, check_grad, check_grad_bias, shape_of
from fullgraph.ops.checks import check
from fullgraph.ops.keep import Dropout
from fullgraph.ops.operators import operator


@operator(reference_attention.attention_dot_forward, "maximum", "total", "acc")
def attention_dot_forward(
    indptr: Tensor,
    indices: Tensor,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    maximum: Tensor,
    total: Tensor,
    acc: Tensor,
    *,
    scale: float,
    bias: Tensor | None = None,
    edge_ids: Tensor | None = None,
    dropout: Dropout | None = None,
) -> None:
    """Absorb a block into a running softmax-weighted sum. Rows are destinations, columns sources.

    Args:
        query: [n, H, C] of the destinations.
        key, value: [S, H, C] of the sources.
        maximum: [n, H], updated: the largest logit met; starts at -inf.
        total: [n, H], updated: sum of exp(logit - maximum), without dropout; starts at 0.
        acc: [n, H, C], updated: sum of exp(logit - maximum) * keep / (1 - p) * value; starts at 0.
        bias: [E, H] or None.

    Raises:
        InputError: on tensors that do not fit together.
    """
    n, num_heads, channels = shape_of("query", query)
    check_edges(indptr, indices, query, edge_ids, bias, dropout, num_rows=n)
    like = (query.dtype, indptr.device)
    check("key", key, [-1, num_heads, channels], *like)
    check("value", value, list(key.shape), *like)
    check("maximum", maximum, [n, num_heads], *like)
    check("total", total, [n, num_heads], *like)
    check("acc", acc, [n, num_heads, channels], *like)


@operator(reference_attention.attention_dot_backward_src, "grad_key", "grad_value")
def attention_dot_backward_src(
    indptr: Tensor,
    indices: Tensor,
    key: Tensor,
    value: Tensor,
    query: Tensor,
    logsumexp: Tensor,
    grad: Tensor,
    delta: Tensor,
    grad_key: Tensor,
    grad_value: Tensor,
    *,
    scale: float,
    bias: Tensor | None = None,
    edge_ids: Tensor | None = None,
    dropout: Dropout | None = None,
) -> None:
    """Add a block's gradients to its sources. The block is the transposed one: rows are sources, columns destinations.

    Args:
        key, value: [n, H, C] of the sources.
        query: [S, H, C] of the destinations.
        logsumexp, delta: [S, H] of the destinations.
        grad: [S, H, C], the gradient of the normalised output; [S, 1, C] where all heads have the same.
        grad_key, grad_value: [n, H, C], added into.

    Raises:
        InputError: on tensors that do not fit together.
    """
    n, num_heads, channels = shape_of("key", key)
    check_edges(indptr, indices, key, edge_ids, bias, dropout, num_rows=n)
    num_columns, like = query.size(0), (key.dtype, indptr.device)
    for name, tensor in (("value", value), ("grad_key", grad_key), ("grad_value", grad_value)):
        check(name, tensor, [n, num_heads, channels], *like)
    check("query", query, [num_columns, num_heads, channels], *like)
    check_grad(grad, [num_columns, num_heads, channels], *like)
    for name, tensor in (("logsumexp", logsumexp), ("delta", delta)):
        check(name, tensor, [num_columns, num_heads], *like)


@operator(reference_attention.attention_dot_backward_dst, "grad_query", "grad_bias")
def attention_dot_backward_dst(
    indptr: Tensor,
    indices: Tensor,
    key: Tensor,
    value: Tensor,
    query: Tensor,
    logsumexp: Tensor,
    grad: Tensor,
    delta: Tensor,
    grad_query: Tensor,
    *,
    grad_bias: Tensor | None = None,
    scale: float,
    bias: Tensor | None = None,
    edge_ids: Tensor | None = None,
    dropout: Dropout | None = None,
) -> None:
    """Add a block's gradients to its queries and biases. Rows are destinations, columns sources.

    Args:
        key, value: [S, H, C] of the sources.
        query: [n, H, C] of the destinations.
        logsumexp, delta: [n, H].
        grad: [n, H, C], the gradient of the normalised output; [n, 1, C] where all heads have the same.
        grad_query: [n, H, C], added into.
        grad_bias: [E, H] or None, added into.

    Raises:
        InputError: on tensors that do not fit together.
    """
    n, num_heads, channels = shape_of("query", query)
    check_edges(indptr, indices, query, edge_ids, bias, dropout, num_rows=n)
    like = (query.dtype, indptr.device)
    check("key", key, [-1, num_heads, channels], *like)
    check("value", value, list(key.shape), *like)
    for name, tensor in (("logsumexp", logsumexp), ("delta", delta)):
        check(name, tensor, [n, num_heads], *like)
    check_grad(grad, [n, num_heads, channels], *like)
    check("grad_query", grad_query, [n, num_heads, channels], *like)
    check_grad_bias(grad_bias, indices, query, edge_ids)

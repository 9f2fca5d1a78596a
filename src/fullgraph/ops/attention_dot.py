"""Scaled dot-product attention over a block, fused: no tensor with a row per edge, in forward or backward.

An edge j -> i has, per head, logit = scale * <query[i], key[j]> + bias[edge], and its message is value[j].
Softmax state, log-sum-exp and delta are those of `fullgraph.ops.attention_gat`.
"""

from torch import Tensor

from fullgraph.ops.attention_twins import Edges
from fullgraph.ops.checks import fits
from fullgraph.ops.keep import Dropout
from fullgraph.ops.operators import operator
from fullgraph.ops.reference import add_rows


@operator(fits("query nHC, key SHC, value SHC, maximum nH+, total nH+, acc nHC+"))
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
    edges = Edges(indptr, indices, bias, edge_ids, dropout)
    logit = scale * (edges.at_rows(query) * edges.at_columns(key)).sum(2) + edges.bias
    edges.absorb(logit, value, maximum, total, acc)


@operator(
    fits("key nHC, value nHC, query SHC, logsumexp SH+, grad ShC, delta SH+, grad_key nHC, grad_value nHC"),
    changes="grad_key grad_value",
)
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
    edges = Edges(indptr, indices, bias, edge_ids, dropout)
    logit = scale * (edges.at_rows(key) * edges.at_columns(query)).sum(2) + edges.bias
    d = edges.return_messages(logit, value, logsumexp, grad, delta, grad_value)
    add_rows(grad_key, edges.rows, (scale * d).unsqueeze(2) * edges.at_columns(query))


@operator(
    fits("query nHC, key SHC, value SHC, logsumexp nH+, grad nhC, delta nH+, grad_query nHC, grad_bias EH"),
    changes="grad_query grad_bias",
)
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
    edges = Edges(indptr, indices, bias, edge_ids, dropout)
    logit = scale * (edges.at_rows(query) * edges.at_columns(key)).sum(2) + edges.bias
    d = edges.grad_logit(logit, value, logsumexp, grad, delta)
    add_rows(grad_query, edges.rows, (scale * d).unsqueeze(2) * edges.at_columns(key))
    edges.add_to_bias(d, grad_bias)

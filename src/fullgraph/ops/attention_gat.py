"""Additive attention (GAT's) over a block, fused: no tensor with a row per edge, in forward or backward.

An edge j -> i has, per head, raw = score_src[j] + score_dst[i] + bias[edge] and logit = leaky_relu(raw). Forward
carries an online softmax from block to block. Backward rebuilds w = exp(logit - logsumexp[i]) and needs
delta[i] = <grad[i], out[i]>, where out[i] = acc[i] / total[i] and logsumexp[i] = maximum[i] + log(total[i]).
"""

from torch import Tensor
from torch.nn.functional import leaky_relu

from fullgraph.ops.attention_twins import Edges, slope
from fullgraph.ops.checks import fits
from fullgraph.ops.keep import Dropout
from fullgraph.ops.operators import operator
from fullgraph.ops.reference import add_rows


@operator(fits("x SHC, score_src SH, score_dst nH, maximum nH+, total nH+, acc nHC+"))
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
    edges = Edges(indptr, indices, bias, edge_ids, dropout)
    raw = edges.at_rows(score_dst) + edges.at_columns(score_src) + edges.bias
    edges.absorb(leaky_relu(raw, negative_slope), x, maximum, total, acc)


@operator(
    fits(
        "x nHC, score_src nH, score_dst SH, logsumexp SH+, delta SH+, grad ShC, grad_x nHC, grad_score_src nH, "
        "grad_score_dst SH, grad_bias EH"
    ),
    changes="grad_x grad_score_src grad_score_dst grad_bias",
)
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
    by_column: tuple[Tensor, Tensor, Tensor | None] | None = None,
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
        by_column: the same entries as rows of destinations (indptr, indices, edge_ids), which a GPU's kernels take too,
            since they add to a destination in one place only.
        grad_bias: [E, H] or None, added into.

    Raises:
        InputError: on tensors that do not fit together.
    """
    edges = Edges(indptr, indices, bias, edge_ids, dropout)
    raw = edges.at_rows(score_src) + edges.at_columns(score_dst) + edges.bias
    d = edges.return_messages(leaky_relu(raw, negative_slope), x, logsumexp, grad, delta, grad_x)
    d = d * slope(raw, negative_slope)
    add_rows(grad_score_src, edges.rows, d)
    add_rows(grad_score_dst, edges.columns, d)
    edges.add_to_bias(d, grad_bias)

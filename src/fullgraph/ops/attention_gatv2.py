"""GATv2's attention over a block, fused: no tensor with a row per edge, in forward or backward.

An edge j -> i has, per head, logit = <att, leaky_relu(x_src[j] + x_dst[i])> + bias[edge], and its message is x_src[j].
Softmax state, log-sum-exp and delta are those of `fullgraph.ops.attention_gat`.
"""

from torch import Tensor
from torch.nn.functional import leaky_relu

from fullgraph.ops.attention_twins import Edges, slope
from fullgraph.ops.checks import fits
from fullgraph.ops.keep import Dropout
from fullgraph.ops.operators import operator
from fullgraph.ops.reference import add_rows


@operator(fits("x_dst nHC, x_src SHC, att HC, maximum nH+, total nH+, acc nHC+"))
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
    edges = Edges(indptr, indices, bias, edge_ids, dropout)
    logit = (att * leaky_relu(edges.at_rows(x_dst) + edges.at_columns(x_src), negative_slope)).sum(2) + edges.bias
    edges.absorb(logit, x_src, maximum, total, acc)


@operator(
    fits("x_src nHC, x_dst SHC, att HC, logsumexp SH+, grad ShC, delta SH+, grad_x_src nHC"),
    changes="grad_x_src",
)
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
    edges = Edges(indptr, indices, bias, edge_ids, dropout)
    summed = edges.at_rows(x_src) + edges.at_columns(x_dst)
    logit = (att * leaky_relu(summed, negative_slope)).sum(2) + edges.bias
    d = edges.return_messages(logit, x_src, logsumexp, grad, delta, grad_x_src)
    add_rows(grad_x_src, edges.rows, d.unsqueeze(2) * att * slope(summed, negative_slope))


@operator(
    fits("x_dst nHC, x_src SHC, att HC, logsumexp nH+, grad nhC, delta nH+, grad_x_dst nHC, grad_att HC, grad_bias EH"),
    changes="grad_x_dst grad_att grad_bias",
)
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
    edges = Edges(indptr, indices, bias, edge_ids, dropout)
    summed = edges.at_rows(x_dst) + edges.at_columns(x_src)
    active = leaky_relu(summed, negative_slope)
    d = edges.grad_logit((att * active).sum(2) + edges.bias, x_src, logsumexp, grad, delta)
    add_rows(grad_x_dst, edges.rows, d.unsqueeze(2) * att * slope(summed, negative_slope))
    grad_att.add_((d.unsqueeze(2) * active).sum(0).to(grad_att.dtype))
    edges.add_to_bias(d, grad_bias)

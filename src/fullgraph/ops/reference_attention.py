"""The naive twins of attention, in plain torch: three scores over one softmax, with tensors as long as the edges.

They have the ops' own signatures (`fullgraph.ops.attention` documents them) and also add into the tensors they are
given. Autograd can follow them.
"""

import torch
from torch import Tensor
from torch.nn.functional import leaky_relu

from fullgraph.ops.keep import Dropout, keep_scale
from fullgraph.ops.reference import keep_mask, rows_of


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
    edges = _Edges(indptr, indices, bias, edge_ids, dropout)
    raw = score_dst[edges.rows] + score_src[edges.columns] + edges.bias
    edges.absorb(leaky_relu(raw, negative_slope), x, maximum, total, acc)


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
    edges = _Edges(indptr, indices, bias, edge_ids, dropout)
    raw = score_src[edges.rows] + score_dst[edges.columns] + edges.bias
    d = edges.return_messages(leaky_relu(raw, negative_slope), x, logsumexp, grad, delta, grad_x)
    d = d * _slope(raw, negative_slope)
    grad_score_src.index_add_(0, edges.rows, d)
    grad_score_dst.index_add_(0, edges.columns, d)
    edges.add_to_bias(d, grad_bias)


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
    edges = _Edges(indptr, indices, bias, edge_ids, dropout)
    logit = (att * leaky_relu(x_dst[edges.rows] + x_src[edges.columns], negative_slope)).sum(2) + edges.bias
    edges.absorb(logit, x_src, maximum, total, acc)


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
    edges = _Edges(indptr, indices, bias, edge_ids, dropout)
    summed = x_src[edges.rows] + x_dst[edges.columns]
    logit = (att * leaky_relu(summed, negative_slope)).sum(2) + edges.bias
    d = edges.return_messages(logit, x_src, logsumexp, grad, delta, grad_x_src)
    grad_x_src.index_add_(0, edges.rows, d.unsqueeze(2) * att * _slope(summed, negative_slope))


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
    edges = _Edges(indptr, indices, bias, edge_ids, dropout)
    summed = x_dst[edges.rows] + x_src[edges.columns]
    active = leaky_relu(summed, negative_slope)
    d = edges.grad_logit((att * active).sum(2) + edges.bias, x_src, logsumexp, grad, delta)
    grad_x_dst.index_add_(0, edges.rows, d.unsqueeze(2) * att * _slope(summed, negative_slope))
    grad_att.add_((d.unsqueeze(2) * active).sum(0))
    edges.add_to_bias(d, grad_bias)


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
    edges = _Edges(indptr, indices, bias, edge_ids, dropout)
    logit = scale * (query[edges.rows] * key[edges.columns]).sum(2) + edges.bias
    edges.absorb(logit, value, maximum, total, acc)


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
    edges = _Edges(indptr, indices, bias, edge_ids, dropout)
    logit = scale * (key[edges.rows] * query[edges.columns]).sum(2) + edges.bias
    d = edges.return_messages(logit, value, logsumexp, grad, delta, grad_value)
    grad_key.index_add_(0, edges.rows, (scale * d).unsqueeze(2) * query[edges.columns])


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
    edges = _Edges(indptr, indices, bias, edge_ids, dropout)
    logit = scale * (query[edges.rows] * key[edges.columns]).sum(2) + edges.bias
    d = edges.grad_logit(logit, value, logsumexp, grad, delta)
    grad_query.index_add_(0, edges.rows, (scale * d).unsqueeze(2) * key[edges.columns])
    edges.add_to_bias(d, grad_bias)


class _Edges:
    """The entries of a block one by one: ends, bias, dropout, and what is the same for every score."""

    def __init__(
        self,
        indptr: Tensor,
        indices: Tensor,
        bias: Tensor | None,
        edge_ids: Tensor | None,
        dropout: Dropout | None,
    ) -> None:
        self.rows, self.columns = rows_of(indptr), indices.long()
        self.ids = torch.arange(indices.numel(), device=indices.device) if edge_ids is None else edge_ids
        self.bias: Tensor | float = 0.0 if bias is None else bias[self.ids]
        self.dropout = dropout

    def absorb(self, logit: Tensor, message: Tensor, maximum: Tensor, total: Tensor, acc: Tensor) -> None:
        """Online softmax; rows are destinations, `message` [S, H, C] belongs to the columns."""
        highest = maximum.scatter_reduce(0, self.rows.unsqueeze(1).expand_as(logit), logit.detach(), "amax")
        scale = torch.where(highest == maximum, torch.ones_like(maximum), (maximum - highest).exp())
        weight = (logit - highest[self.rows]).exp()
        kept = weight * self._keep_factor(weight)
        total.mul_(scale).index_add_(0, self.rows, weight)
        acc.mul_(scale.unsqueeze(2)).index_add_(0, self.rows, kept.unsqueeze(2) * message[self.columns])
        maximum.copy_(highest)

    def return_messages(
        self, logit: Tensor, message: Tensor, logsumexp: Tensor, grad: Tensor, delta: Tensor, grad_message: Tensor
    ) -> Tensor:
        """Add the messages' gradient; rows are sources. Returns the logits' gradient [nnz, H]."""
        weight = (logit - logsumexp[self.columns]).exp()
        factor = self._keep_factor(weight)
        grad_message.index_add_(0, self.rows, (weight * factor).unsqueeze(2) * grad[self.columns])
        return weight * (factor * (grad[self.columns] * message[self.rows]).sum(2) - delta[self.columns])

    def grad_logit(self, logit: Tensor, message: Tensor, logsumexp: Tensor, grad: Tensor, delta: Tensor) -> Tensor:
        """The logits' gradient [nnz, H]; rows are destinations."""
        weight = (logit - logsumexp[self.rows]).exp()
        inner = (grad[self.rows] * message[self.columns]).sum(2)
        return weight * (self._keep_factor(weight) * inner - delta[self.rows])

    def add_to_bias(self, d: Tensor, grad_bias: Tensor | None) -> None:
        if grad_bias is not None:
            grad_bias.index_add_(0, self.ids, d)

    def _keep_factor(self, weight: Tensor) -> Tensor:
        if self.dropout is None:
            return torch.ones_like(weight)
        heads = torch.arange(weight.size(1), device=weight.device)
        keys = self.dropout.edge_keys[self.ids].unsqueeze(1)
        keep = keep_mask(self.dropout.key, keys, heads, self.dropout.p)
        return keep.to(weight.dtype) * keep_scale(self.dropout.p)


def _slope(raw: Tensor, negative_slope: float) -> Tensor:
    return torch.where(raw > 0, torch.ones_like(raw), torch.full_like(raw, negative_slope))

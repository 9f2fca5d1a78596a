"""What the plain-torch twins of all three attentions share: a block's entries one by one, and their softmax."""

import torch
from torch import Tensor

from fullgraph.ops.dtypes import accumulator
from fullgraph.ops.keep import Dropout, keep_scale
from fullgraph.ops.reference import add_rows, keep_mask, rows_of


class Edges:
    """Ends, bias and dropout of each entry, and the softmax over a destination's."""

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
        self.bias: Tensor | float = 0.0 if bias is None else bias[self.ids].to(accumulator(bias.dtype))
        self.dropout = dropout

    def at_rows(self, tensor: Tensor) -> Tensor:
        """What belongs to the row of each entry, in the dtype that it is summed in."""
        return tensor[self.rows].to(accumulator(tensor.dtype))

    def at_columns(self, tensor: Tensor) -> Tensor:
        """The same of its column."""
        return tensor[self.columns].to(accumulator(tensor.dtype))

    def absorb(self, logit: Tensor, message: Tensor, maximum: Tensor, total: Tensor, acc: Tensor) -> None:
        """Online softmax; rows are destinations, `message` [S, H, C] belongs to the columns."""
        highest = maximum.scatter_reduce(0, self.rows.unsqueeze(1).expand_as(logit), logit.detach(), "amax")
        scale = torch.where(highest == maximum, torch.ones_like(maximum), (maximum - highest).exp())
        weight = (logit - highest[self.rows]).exp()
        kept = weight * self._keep_factor(weight)
        total.mul_(scale).index_add_(0, self.rows, weight)
        acc.mul_(scale.unsqueeze(2)).index_add_(0, self.rows, kept.unsqueeze(2) * self.at_columns(message))
        maximum.copy_(highest)

    def return_messages(
        self, logit: Tensor, message: Tensor, logsumexp: Tensor, grad: Tensor, delta: Tensor, grad_message: Tensor
    ) -> Tensor:
        """Add the messages' gradient; rows are sources. Returns the logits' gradient [nnz, H]."""
        weight = (logit - logsumexp[self.columns]).exp()
        factor = self._keep_factor(weight)
        given = self.at_columns(grad)
        add_rows(grad_message, self.rows, (weight * factor).unsqueeze(2) * given)
        return weight * (factor * (given * self.at_rows(message)).sum(2) - delta[self.columns])

    def grad_logit(self, logit: Tensor, message: Tensor, logsumexp: Tensor, grad: Tensor, delta: Tensor) -> Tensor:
        """The logits' gradient [nnz, H]; rows are destinations."""
        weight = (logit - logsumexp[self.rows]).exp()
        inner = (self.at_rows(grad) * self.at_columns(message)).sum(2)
        return weight * (self._keep_factor(weight) * inner - delta[self.rows])

    def add_to_bias(self, d: Tensor, grad_bias: Tensor | None) -> None:
        if grad_bias is not None:
            add_rows(grad_bias, self.ids, d)

    def _keep_factor(self, weight: Tensor) -> Tensor:
        if self.dropout is None:
            return torch.ones_like(weight)
        heads = torch.arange(weight.size(1), device=weight.device)
        keys = self.dropout.edge_keys[self.ids].unsqueeze(1)
        keep = keep_mask(self.dropout.key, keys, heads, self.dropout.p)
        return keep.to(weight.dtype) * keep_scale(self.dropout.p)


def slope(raw: Tensor, negative_slope: float) -> Tensor:
    """The derivative of ``leaky_relu`` at ``raw``."""
    return torch.where(raw > 0, torch.ones_like(raw), torch.full_like(raw, negative_slope))

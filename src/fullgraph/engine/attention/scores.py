"""Three ways to score an edge, each with its kernels: all that differs between GAT, GATv2 and scaled dot products.

A score says which tensors belong to sources, to destinations and to the layer, and whether backward is cheaper as a
walk over the reversed graph (the destination's tensors travel to the source) or by fetching the sources again.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from fullgraph import ops
from fullgraph.graph.block import Block


class EdgeTerms(NamedTuple):
    """What belongs to single edges, looked up by the blocks' edge ids.

    Attributes:
        bias: ``[num_edges, H]`` added to the scores, or None.
        grad_bias: where its gradient is added, or None.
        dropout: of the weights after the softmax, or None.
    """

    bias: Tensor | None
    grad_bias: Tensor | None
    dropout: ops.Dropout | None

    def of(self, block: Block) -> dict[str, Any]:
        """What every kernel is told of a block's edges."""
        return {"bias": self.bias, "edge_ids": block.edge_ids, "dropout": self.dropout}


class Outcome(NamedTuple):
    """What backward knows of destinations, in the kernels' order: per head (``[n, H]``) the log-sum-exp of the scores,
    ``grad`` of the output ``[n, H, C]``, ``[n, 1, C]`` where all heads have the same, and ``delta = <grad, output>``.
    """

    logsumexp: Tensor
    grad: Tensor
    delta: Tensor


class OnlineSoftmax:
    """The running softmax of all destinations of a rank: blocks can be absorbed in any order."""

    def __init__(self, num_dst: int, like: Tensor):
        """``like``: ``[…, H, C]``, whose heads and channels the output has, in what such rows are summed in."""
        heads, channels = like.shape[1:]
        dtype = ops.accumulator(like.dtype)
        self.maximum = like.new_full((num_dst, heads), -torch.inf, dtype=dtype)
        self.total = like.new_zeros((num_dst, heads), dtype=dtype)
        self.accumulator = like.new_zeros((num_dst, heads, channels), dtype=dtype)

    @property
    def parts(self) -> tuple[Tensor, ...]:
        """What kernels absorb a block into."""
        return self.maximum, self.total, self.accumulator

    def finish(self) -> tuple[Tensor, Tensor]:
        """The output ``[num_dst, H, C]`` and log-sum-exp ``[num_dst, H]``; both 0 where there are no edges."""
        empty = self.total == 0
        total = self.total.masked_fill_(empty, 1)
        logsumexp = self.maximum.masked_fill_(empty, 0).add_(total.log())
        return self.accumulator.div_(total.unsqueeze(2)), logsumexp


class Score(ABC):
    """One way to score edges. Tensors come as tuples: of sources, of destinations, and of the layer (``shared``).

    Attributes:
        num_src, num_dst: how many tensors sources and destinations have; the others are shared.
        reverses: whether backward walks the reversed graph. Such a score has no shared tensors.
    """

    num_src: int
    num_dst: int
    reverses: bool

    @abstractmethod
    def values(self, src: Sequence[Tensor]) -> Tensor:
        """The rows that are averaged, ``[num_src_rows, H, C]``."""

    @abstractmethod
    def forward(
        self,
        block: Block,
        src: Sequence[Tensor],
        dst: Sequence[Tensor],
        shared: Sequence[Tensor],
        state: OnlineSoftmax,
        terms: EdgeTerms,
    ) -> None:
        """Absorb a block (rows are destinations) into ``state``."""

    @abstractmethod
    def backward(
        self,
        block_t: Block,
        src: Sequence[Tensor],
        dst: Sequence[Tensor],
        shared: Sequence[Tensor],
        outcome: Outcome,
        grads_src: Sequence[Tensor],
        grads_dst: Sequence[Tensor],
        terms: EdgeTerms,
    ) -> None:
        """Add to all gradients, over a block whose rows are sources.

        Args:
            grads_src: of the source tensors.
            grads_dst: of the destination tensors, then of the shared ones.
        """


@dataclass(frozen=True)
class Additive(Score):
    """``leaky_relu(score_src[j] + score_dst[i] + bias)`` (Veličković 2018): sources ``(x [n, H, C], score [n, H])``,
    destinations ``(score [n, H],)``."""

    negative_slope: float
    num_src, num_dst, reverses = 2, 1, True

    def values(self, src):
        return src[0]

    def forward(self, block, src, dst, shared, state, terms):
        slope = self.negative_slope
        ops.attention_forward(*_csr(block), *src, *dst, *state.parts, negative_slope=slope, **terms.of(block))

    def backward(self, block_t, src, dst, shared, outcome, grads_src, grads_dst, terms):
        given, more = (*src, *dst, *outcome), {"negative_slope": self.negative_slope, "grad_bias": terms.grad_bias}
        if block_t.indptr.is_cuda:
            block = block_t.transposed
            more["by_column"] = (*_csr(block), block.edge_ids)
        ops.attention_backward(*_csr(block_t), *given, *grads_src, *grads_dst, **more, **terms.of(block_t))


@dataclass(frozen=True)
class BothEnds(Score):
    """``<att, leaky_relu(x_src[j] + x_dst[i])> + bias`` (GATv2; Brody 2022, eq. 7): sources ``(x [n, H, C],)``,
    destinations ``(x [n, H, C],)``, shared ``(att [H, C],)``."""

    negative_slope: float
    num_src, num_dst, reverses = 1, 1, False

    def values(self, src):
        return src[0]

    def forward(self, block, src, dst, shared, state, terms):
        given, slope = (*src, *dst, *shared), self.negative_slope
        ops.attention_v2_forward(*_csr(block), *given, *state.parts, negative_slope=slope, **terms.of(block))

    def backward(self, block_t, src, dst, shared, outcome, grads_src, grads_dst, terms):
        given, block, slope = (
            (*src, *dst, *shared, *outcome),
            block_t.transposed,
            {"negative_slope": self.negative_slope},
        )
        ops.attention_v2_backward_src(*_csr(block_t), *given, *grads_src, **slope, **terms.of(block_t))
        more = {**slope, "grad_bias": terms.grad_bias}
        ops.attention_v2_backward_dst(*_csr(block), *given, *grads_dst, **more, **terms.of(block))


@dataclass(frozen=True)
class DotProduct(Score):
    """``scale * <query[i], key[j]> + bias`` (Vaswani 2017; Shi 2021, eq. 3): sources ``(key, value)``, destinations
    ``(query,)``, all ``[n, H, C]``. Sending a destination's query, gradient and returning the query's costs 5 feature
    rows per boundary row and layer; fetching keys and values again would cost 6."""

    scale: float
    num_src, num_dst, reverses = 2, 1, True

    def values(self, src):
        return src[1]

    def forward(self, block, src, dst, shared, state, terms):
        ops.attention_dot_forward(*_csr(block), *dst, *src, *state.parts, scale=self.scale, **terms.of(block))

    def backward(self, block_t, src, dst, shared, outcome, grads_src, grads_dst, terms):
        given, block, scale = (*src, *dst, *outcome), block_t.transposed, {"scale": self.scale}
        ops.attention_dot_backward_src(*_csr(block_t), *given, *grads_src, **scale, **terms.of(block_t))
        more = {**scale, "grad_bias": terms.grad_bias}
        ops.attention_dot_backward_dst(*_csr(block), *given, *grads_dst, **more, **terms.of(block))


def _csr(block: Block) -> tuple[Tensor, Tensor]:
    return block.indptr, block.indices

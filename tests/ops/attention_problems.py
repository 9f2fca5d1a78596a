"""Attention problems on drawn blocks: per score its inputs, and forward and backward by kernels or their twins."""

from typing import Any

import torch
from torch import Tensor

from fullgraph import ops
from tests.ops import twins
from tests.ops.blocks import DrawnBlock

SLOPE = 0.2
SCALE = 0.7


class Problem:
    """One attention problem: `inputs` are differentiable, `state` is what blocks are absorbed into.

    With `averages` the objective's gradient is the same for all heads, and given once.
    """

    def __init__(
        self,
        block: DrawnBlock,
        num_heads: int,
        width: int,
        dtype: torch.dtype,
        *,
        bias: bool,
        p: float,
        averages: bool = False,
    ) -> None:
        values = block.values(dtype)
        self.block = block
        self.src_shape = (block.num_columns, num_heads, width)
        self.dst_shape = (block.num_rows, num_heads, width)
        self.grad = values(block.num_rows, 1 if averages else num_heads, width)
        self.bias = values(block.num_edges, num_heads) if bias else None
        keys = values.keys(block.num_edges)
        self.dropout = ops.Dropout(p=p, key=2**62 + 7, edge_keys=keys) if p else None
        self.draw(values)

    def draw(self, values: Any) -> None:
        raise AssertionError

    def inputs(self) -> tuple[Tensor, ...]:
        raise AssertionError

    def absorb(self, module: Any, block: DrawnBlock, state: tuple[Tensor, ...]) -> None:
        raise AssertionError

    def gradients(self, module: Any, logsumexp: Tensor, delta: Tensor, grad_bias: Tensor | None) -> tuple[Tensor, ...]:
        raise AssertionError

    def options(self, block: DrawnBlock) -> dict[str, Any]:
        return {"bias": self.bias, "edge_ids": block.edge_ids, "dropout": self.dropout}

    def forward(self, module: Any, *halves: DrawnBlock) -> tuple[Tensor, Tensor, Tensor]:
        """(maximum, total, acc) after absorbing the blocks."""
        dtype = ops.accumulator(self.grad.dtype)
        total = self.grad.new_zeros(self.dst_shape[:2], dtype=dtype)
        state = (torch.full_like(total, -torch.inf), total, self.grad.new_zeros(self.dst_shape, dtype=dtype))
        for block in halves or (self.block,):
            self.absorb(module, block, state)
        return state

    def backward(self, module: Any) -> tuple[Tensor, ...]:
        """Gradients of <out, grad> to the inputs and, where there is one, bias."""
        maximum, total, acc = self.forward(module)
        out = torch.where((total > 0).unsqueeze(2), acc / total.unsqueeze(2), 0)
        grad_bias = None if self.bias is None else torch.zeros_like(self.bias)
        grads = self.gradients(module, maximum + total.log(), (out * self.grad).sum(2), grad_bias)
        return grads if grad_bias is None else (*grads, grad_bias)

    def autograd(self) -> tuple[Tensor, ...]:
        """The same gradients, by torch's autograd through the twin of forward."""
        leaves = [*self.inputs(), *([] if self.bias is None else [self.bias])]
        for leaf in leaves:
            leaf.requires_grad_()
        _, total, acc = self.forward(twins)
        out = acc / torch.where((total > 0).unsqueeze(2), total.unsqueeze(2), 1)
        objective = (out * self.grad).sum() + 0 * sum(leaf.sum() for leaf in leaves)
        grads = torch.autograd.grad(objective, leaves)
        for leaf in leaves:
            leaf.requires_grad_(False)
        return grads


class Additive(Problem):
    def draw(self, values: Any) -> None:
        self.x = values(*self.src_shape)
        self.score_src = 3 * values(*self.src_shape[:2])
        self.score_dst = 3 * values(*self.dst_shape[:2])

    def inputs(self) -> tuple[Tensor, ...]:
        return self.x, self.score_src, self.score_dst

    def options(self, block: DrawnBlock) -> dict[str, Any]:
        return {"negative_slope": SLOPE, **super().options(block)}

    def absorb(self, module: Any, block: DrawnBlock, state: tuple[Tensor, ...]) -> None:
        module.attention_forward(*block.csr(), *self.inputs(), *state, **self.options(block))

    def gradients(self, module: Any, logsumexp: Tensor, delta: Tensor, grad_bias: Tensor | None) -> tuple[Tensor, ...]:
        block, block_t, given = self.block, self.block.transposed(), (*self.inputs(), logsumexp, self.grad, delta)
        grads, options = tuple(map(torch.zeros_like, self.inputs())), {"grad_bias": grad_bias, **self.options(block_t)}
        by_column = (*block.csr(), block.edge_ids)
        module.attention_backward(*block_t.csr(), *given, *grads, by_column=by_column, **options)
        return grads


class Gatv2(Problem):
    def draw(self, values: Any) -> None:
        self.x_src, self.x_dst = values(*self.src_shape), values(*self.dst_shape)
        self.att = values(*self.src_shape[1:])

    def inputs(self) -> tuple[Tensor, ...]:
        return self.x_src, self.x_dst, self.att

    def options(self, block: DrawnBlock) -> dict[str, Any]:
        return {"negative_slope": SLOPE, **super().options(block)}

    def absorb(self, module: Any, block: DrawnBlock, state: tuple[Tensor, ...]) -> None:
        module.attention_v2_forward(*block.csr(), *self.inputs(), *state, **self.options(block))

    def gradients(self, module: Any, logsumexp: Tensor, delta: Tensor, grad_bias: Tensor | None) -> tuple[Tensor, ...]:
        block, block_t, given = self.block, self.block.transposed(), (*self.inputs(), logsumexp, self.grad, delta)
        grads = tuple(map(torch.zeros_like, self.inputs()))
        module.attention_v2_backward_src(*block_t.csr(), *given, grads[0], **self.options(block_t))
        module.attention_v2_backward_dst(*block.csr(), *given, *grads[1:], grad_bias=grad_bias, **self.options(block))
        return grads


class ScaledDot(Problem):
    def draw(self, values: Any) -> None:
        self.query = values(*self.dst_shape)
        self.key, self.value = values(*self.src_shape), values(*self.src_shape)

    def inputs(self) -> tuple[Tensor, ...]:
        return self.query, self.key, self.value

    def options(self, block: DrawnBlock) -> dict[str, Any]:
        return {"scale": SCALE, **super().options(block)}

    def absorb(self, module: Any, block: DrawnBlock, state: tuple[Tensor, ...]) -> None:
        module.attention_dot_forward(*block.csr(), *self.inputs(), *state, **self.options(block))

    def gradients(self, module: Any, logsumexp: Tensor, delta: Tensor, grad_bias: Tensor | None) -> tuple[Tensor, ...]:
        block, block_t = self.block, self.block.transposed()
        given = (self.key, self.value, self.query, logsumexp, self.grad, delta)
        grads = tuple(map(torch.zeros_like, self.inputs()))
        module.attention_dot_backward_src(*block_t.csr(), *given, *grads[1:], **self.options(block_t))
        module.attention_dot_backward_dst(*block.csr(), *given, grads[0], grad_bias=grad_bias, **self.options(block))
        return grads


SCORES = [Additive, Gatv2, ScaledDot]

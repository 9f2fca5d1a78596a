"""Fused attention equals its twins, its gradients equal autograd's, and it does not see how blocks are cut."""

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from fullgraph import ops
from fullgraph.errors import InputError
from fullgraph.ops import reference
from tests.ops.blocks import DrawnBlock, block_of, blocks, heads, hub_block
from tests.ops.laws import assert_close, assert_thread_count_does_not_matter

DTYPES = [torch.float64, torch.float32]
channels = st.integers(1, 20)
SLOPE = 0.2


class Case:
    """One attention problem on a block: its inputs, and forward and backward by the kernels or by their twins."""

    def __init__(
        self, block: DrawnBlock, num_heads: int, width: int, dtype: torch.dtype, *, bias: bool, p: float
    ) -> None:
        values = block.values(dtype)
        self.block = block
        self.x = values(block.num_columns, num_heads, width)
        self.score_src = 3 * values(block.num_columns, num_heads)
        self.score_dst = 3 * values(block.num_rows, num_heads)
        self.grad = values(block.num_rows, num_heads, width)
        self.bias = values(block.num_edges, num_heads) if bias else None
        keys = values.keys(block.num_edges)
        self.dropout = ops.Dropout(p=p, key=2**62 + 7, edge_keys=keys) if p else None

    def options(self, block: DrawnBlock) -> dict[str, Any]:
        return {
            "negative_slope": SLOPE,
            "bias": self.bias,
            "edge_ids": block.edge_ids,
            "dropout": self.dropout,
        }

    def forward(self, module: Any, *halves: DrawnBlock) -> tuple[Tensor, Tensor, Tensor]:
        """(maximum, total, acc) after absorbing the blocks."""
        total = torch.zeros_like(self.score_dst)
        state = (torch.full_like(total, -torch.inf), total, torch.zeros_like(self.grad))
        for block in halves or (self.block,):
            module.attention_forward(
                *block.csr(), self.x, self.score_src, self.score_dst, *state, **self.options(block)
            )
        return state

    def backward(self, module: Any) -> tuple[Tensor, ...]:
        """Gradients of <out, grad> to x, score_src, score_dst and, where there is one, bias."""
        maximum, total, acc = self.forward(module)
        met = total > 0
        out = torch.where(met.unsqueeze(2), acc / total.unsqueeze(2), 0)
        logsumexp, delta = maximum + total.log(), (out * self.grad).sum(2)
        block_t = self.block.transposed()
        scores = (self.score_src, self.score_dst, logsumexp, self.grad, delta)
        grads = torch.zeros_like(self.x), torch.zeros_like(self.score_src)
        module.attention_backward_src(*block_t.csr(), self.x, *scores, *grads, **self.options(block_t))
        grad_dst, grad_bias = (
            torch.zeros_like(self.score_dst),
            None if self.bias is None else torch.zeros_like(self.bias),
        )
        module.attention_backward_dst(
            *self.block.csr(), self.x, *scores, grad_dst, grad_bias=grad_bias, **self.options(self.block)
        )
        return (*grads, grad_dst) if grad_bias is None else (*grads, grad_dst, grad_bias)

    def autograd(self) -> tuple[Tensor, ...]:
        """The same gradients, by torch's autograd through the twin of forward."""
        leaves = [t for t in (self.x, self.score_src, self.score_dst, self.bias) if t is not None]
        for leaf in leaves:
            leaf.requires_grad_()
        _, total, acc = self.forward(reference)
        met = (total > 0).unsqueeze(2)
        out = acc / torch.where(met, total.unsqueeze(2), 1)
        objective = (out * self.grad).sum() + 0 * sum(leaf.sum() for leaf in leaves)
        grads = torch.autograd.grad(objective, leaves)
        for leaf in leaves:
            leaf.requires_grad_(False)
        return grads


probabilities = st.sampled_from([0.0, 0.6])


@pytest.mark.parametrize("dtype", DTYPES)
@given(block=blocks(), num_heads=heads, width=channels, bias=st.booleans(), p=probabilities)
def test_forward_equals_its_twin(
    block: DrawnBlock, num_heads: int, width: int, bias: bool, p: float, dtype: torch.dtype
) -> None:
    case = Case(block, num_heads, width, dtype, bias=bias, p=p)
    assert_close(case.forward(ops), case.forward(reference))


@given(block=blocks(), num_heads=heads, width=channels, bias=st.booleans(), p=probabilities)
def test_two_blocks_equal_one(block: DrawnBlock, num_heads: int, width: int, bias: bool, p: float) -> None:
    case = Case(block, num_heads, width, torch.float64, bias=bias, p=p)
    assert_close(case.forward(ops, *block.split()), case.forward(ops))


@pytest.mark.parametrize("dtype", DTYPES)
@given(block=blocks(), num_heads=heads, width=channels, bias=st.booleans(), p=probabilities)
def test_backward_equals_its_twin(
    block: DrawnBlock, num_heads: int, width: int, bias: bool, p: float, dtype: torch.dtype
) -> None:
    case = Case(block, num_heads, width, dtype, bias=bias, p=p)
    assert_close(case.backward(ops), case.backward(reference))


@given(block=blocks(), num_heads=heads, width=channels, bias=st.booleans(), p=probabilities)
def test_backward_equals_autograd(block: DrawnBlock, num_heads: int, width: int, bias: bool, p: float) -> None:
    case = Case(block, num_heads, width, torch.float64, bias=bias, p=p)
    for got, want in zip(case.backward(ops), case.autograd(), strict=True):
        torch.testing.assert_close(got, want, rtol=1e-10, atol=1e-10)


def test_logits_far_apart_neither_overflow_nor_vanish() -> None:
    block = block_of([3, 100], 100, 0, named=False)
    for dtype in DTYPES:
        case = Case(block, 2, 3, dtype, bias=False, p=0.0)
        case.score_src = torch.linspace(-1e4, 1e4, 100, dtype=dtype).unsqueeze(1).repeat(1, 2)
        state = case.forward(ops)
        assert all(torch.isfinite(part).all() for part in state)
        assert_close(state, case.forward(reference))


def test_float32_weights_are_as_accurate_as_float32_is() -> None:
    """The polynomial exponential against float64, for logits over the whole range that matters."""
    num_edges = 1000
    indptr, indices = torch.tensor([0, num_edges]), torch.arange(num_edges, dtype=torch.int32)
    score = torch.linspace(0.0, -85.0, num_edges)  # the largest first: no rescaling in between
    x = torch.eye(num_edges)
    state = (torch.full((1, 1), -torch.inf), torch.zeros(1, 1), torch.zeros(1, 1, num_edges))
    ops.attention_forward(
        indptr, indices, x.unsqueeze(1), score.unsqueeze(1), torch.zeros(1, 1), *state, negative_slope=1.0
    )
    exact = score.double().exp()
    assert ((state[2].flatten().double() - exact).abs() / exact).max() < 2.0**-22


def test_a_score_of_zero_has_the_slope_of_the_negative_side() -> None:
    indptr, indices = torch.tensor([0, 2]), torch.tensor([0, 1], dtype=torch.int32)
    x, zeros = torch.tensor([[[1.0]], [[3.0]]]), torch.zeros(2, 1)
    lse, grad, delta = torch.full((1, 1), 2.0).log(), torch.ones(1, 1, 1), torch.full((1, 1), 2.0)
    grad_bias, grad_dst = torch.zeros(2, 1), torch.zeros(1, 1)
    ops.attention_backward_dst(
        indptr,
        indices,
        x,
        zeros,
        zeros[:1],
        lse,
        grad,
        delta,
        grad_dst,
        negative_slope=SLOPE,
        grad_bias=grad_bias,
    )
    torch.testing.assert_close(grad_bias, torch.tensor([[-0.5], [0.5]]) * SLOPE)


def test_any_number_of_threads_gives_the_same_bits() -> None:
    case = Case(hub_block(), 3, 9, torch.float32, bias=True, p=0.5)
    assert_thread_count_does_not_matter(lambda: (*case.forward(ops), *case.backward(ops)))


def test_what_does_not_fit_is_named() -> None:
    case = Case(block_of([2, 1], 3, 0, named=False), 2, 4, torch.float32, bias=True, p=0.5)
    case.score_src = case.score_src[:, :1].contiguous()
    with pytest.raises(InputError) as caught:
        case.forward(ops)
    assert str(caught.value) == (
        "score_src must be a contiguous torch.float32 tensor of shape [3, 2] on cpu: torch.float32 [3, 1] on cpu"
    )

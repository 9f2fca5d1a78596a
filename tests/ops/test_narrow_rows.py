"""Rows of 16 bits on a CPU are summed by the float32 kernels and rounded once, not by the twins."""

from typing import Any

import pytest
import torch
from torch import Tensor

from fullgraph import ops
from tests.ops.attention_problems import SCORES, Problem
from tests.ops.blocks import block_of

NARROW = [torch.bfloat16, torch.float16]
DEGREES = [3, 0, 17, 1, 40, 16]


@pytest.fixture(autouse=True)
def without_twins(monkeypatch: pytest.MonkeyPatch) -> None:
    """No tensor with a row per edge: what only twins need is not there."""

    def refuse(*_: Any) -> None:
        raise AssertionError("a twin ran")

    for place in ("attention_twins", "attention_gat", "extrema", "sums"):
        for name in ("rows_of", "add_rows"):
            monkeypatch.setattr(f"fullgraph.ops.{place}.{name}", refuse, raising=False)


def widened(given: Any) -> Any:
    return given.float() if isinstance(given, Tensor) and given.is_floating_point() else given


@pytest.mark.parametrize("dtype", NARROW)
@pytest.mark.parametrize("score", SCORES)
def test_attention(score: type[Problem], dtype: torch.dtype) -> None:
    block = block_of(DEGREES, 9, 1, named=True)
    narrow, wide = (score(block, 2, 5, dtype, bias=True, p=0.3) for _ in range(2))
    for name, value in vars(wide).items():
        setattr(wide, name, widened(value))
    for got, want in zip(narrow.forward(ops), wide.forward(ops), strict=True):
        assert got.dtype == torch.float32
        assert torch.equal(got, want)
    for got, want in zip(narrow.backward(ops), wide.backward(ops), strict=True):
        assert got.dtype == dtype
        assert torch.equal(got, want.to(dtype))


@pytest.mark.parametrize("dtype", NARROW)
def test_extrema_and_gradients_of_weights(dtype: torch.dtype) -> None:
    block = block_of(DEGREES, 9, 1, named=True)
    values, back = block.values(dtype), block.transposed()
    x, grad, start = values(block.num_columns, 6).round(), values(block.num_rows, 6), values(block.num_columns, 6)
    found = {}
    for width in (dtype, torch.float32):
        value = torch.full((block.num_rows, 6), -torch.inf, dtype=width)
        count, out = torch.zeros_like(value, dtype=torch.int32), start.to(width, copy=True)
        ops.extremum(*block.csr(), x.to(width), value, count, largest=True)
        ops.extremum_backward(*back.csr(), x.to(width), value, grad.to(width), out)
        dots = torch.zeros(block.num_edges, 2, dtype=width)
        ops.sddmm(*block.csr(), grad.to(width), x.to(width), dots, edge_ids=block.edge_ids)
        found[width] = (value, count, out, dots)
    for got, want in zip(found[dtype], found[torch.float32], strict=True):
        assert torch.equal(got, want.to(got.dtype))

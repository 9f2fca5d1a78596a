"""spmm and sddmm equal their twins, are each other's gradients, and absorb blocks one after another."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from fullgraph import ops
from fullgraph.errors import InputError
from fullgraph.ops import reference
from tests.ops.blocks import DrawnBlock, block_of, blocks, heads, hub_block, widths
from tests.ops.laws import assert_close, assert_thread_count_does_not_matter

DTYPES = [torch.float64, torch.float32]


@pytest.mark.parametrize("dtype", DTYPES)
@given(block=blocks(), width=widths, num_heads=heads, weighted=st.sampled_from(["no", "edge", "head"]))
def test_spmm_equals_its_twin(block: DrawnBlock, width: int, num_heads: int, weighted: str, dtype: torch.dtype) -> None:
    values = block.values(dtype)
    x, start = values(block.num_columns, num_heads * width), values(block.num_rows, num_heads * width)
    weight = {"no": None, "edge": values(block.num_edges), "head": values(block.num_edges, num_heads)}[weighted]
    got, want = start.clone(), start.clone()
    ops.spmm(*block.csr(), x, got, weight=weight, edge_ids=block.edge_ids)
    reference.spmm(*block.csr(), x, want, weight=weight, edge_ids=block.edge_ids)
    assert_close((got,), (want,))


@pytest.mark.parametrize("dtype", DTYPES)
@given(block=blocks(), width=widths, num_heads=heads)
def test_sddmm_equals_its_twin(block: DrawnBlock, width: int, num_heads: int, dtype: torch.dtype) -> None:
    values = block.values(dtype)
    left, right = values(block.num_rows, num_heads * width), values(block.num_columns, num_heads * width)
    got = values(block.num_edges, num_heads)
    want = got.clone()
    ops.sddmm(*block.csr(), left, right, got, edge_ids=block.edge_ids)
    reference.sddmm(*block.csr(), left, right, want, edge_ids=block.edge_ids)
    assert_close((got,), (want,))


@given(block=blocks(), width=widths, num_heads=heads)
def test_gradients_are_the_ops_themselves(block: DrawnBlock, width: int, num_heads: int) -> None:
    values = block.values()
    x = values(block.num_columns, num_heads * width).requires_grad_()
    weight = values(block.num_edges, num_heads).requires_grad_()
    grad = values(block.num_rows, num_heads * width)
    out = torch.zeros_like(grad)
    reference.spmm(*block.csr(), x, out, weight=weight, edge_ids=block.edge_ids)
    want_x, want_weight = torch.autograd.grad((out * grad).sum() + 0 * (x.sum() + weight.sum()), (x, weight))

    got_x, got_weight, block_t = torch.zeros_like(x), torch.zeros_like(weight), block.transposed()
    ops.spmm(*block_t.csr(), grad, got_x, weight=weight, edge_ids=block_t.edge_ids)
    ops.sddmm(*block.csr(), grad, x, got_weight, edge_ids=block.edge_ids)
    assert_close((got_x, got_weight), (want_x, want_weight))


@given(block=blocks(), width=widths)
def test_two_blocks_equal_one(block: DrawnBlock, width: int) -> None:
    values = block.values()
    x, weight = values(block.num_columns, width), values(block.num_edges)
    merged = torch.zeros(block.num_rows, width, dtype=x.dtype)
    absorbed = merged.clone()
    ops.spmm(*block.csr(), x, merged, weight=weight, edge_ids=block.edge_ids)
    for half in block.split():
        ops.spmm(*half.csr(), x, absorbed, weight=weight, edge_ids=half.edge_ids)
    assert_close((absorbed,), (merged,))


def test_any_number_of_threads_gives_the_same_bits() -> None:
    block = hub_block()
    values = block.values(torch.float32)
    x, grad, weight = values(block.num_columns, 33), values(block.num_rows, 33), values(block.num_edges, 3)

    def run() -> tuple[torch.Tensor, ...]:
        out, dots = torch.zeros_like(grad), torch.zeros_like(weight)
        ops.spmm(*block.csr(), x, out, weight=weight, edge_ids=block.edge_ids)
        ops.sddmm(*block.csr(), grad, x, dots, edge_ids=block.edge_ids)
        return out, dots

    assert_thread_count_does_not_matter(run)


def test_other_dtypes_run_the_twin() -> None:
    block = block_of([2, 0, 3], 4, 0, named=False)
    x, out = torch.ones(4, 2, dtype=torch.bfloat16), torch.zeros(3, 2, dtype=torch.bfloat16)
    ops.spmm(*block.csr(), x, out)
    assert out.tolist() == [[2, 2], [0, 0], [3, 3]]


def test_what_does_not_fit_is_named() -> None:
    indptr, indices = block_of([2, 0, 3], 4, 0, named=False).csr()
    x, out = torch.ones(4, 6), torch.zeros(3, 6)
    cases = [
        (
            (indptr[:-1], indices, x, out),
            {},
            "indptr must be a contiguous torch.int64 tensor of shape [4] on cpu: torch.int64 [3] on cpu",
        ),
        (
            (indptr, indices.long(), x, out),
            {},
            "indices must be a contiguous torch.int32 tensor of shape [any] on cpu: torch.int64 [5] on cpu",
        ),
        (
            (indptr, indices[:-1], x, out),
            {},
            "indptr must begin with 0 and end with the number of indices, 4: 0 … 5",
        ),
        (
            (indptr, indices, x, out.double()),
            {},
            "out must be a contiguous torch.float32 tensor of shape [any, 6] on cpu: torch.float64 [3, 6] on cpu",
        ),
        (
            (indptr, indices, torch.ones(6, 4).T, out),
            {},
            (
                "x must be a contiguous torch.float32 tensor of shape [any, any] on cpu: "
                "non-contiguous torch.float32 [4, 6] on cpu"
            ),
        ),
        (
            (indptr, indices, x, out),
            {"weight": torch.ones(4)},
            "weight must be a contiguous torch.float32 tensor of shape [5, any] on cpu: torch.float32 [4, 1] on cpu",
        ),
        (
            (indptr, indices, x, out),
            {"weight": torch.ones(5, 4)},
            "the width, 6, must be a multiple of the number of heads of weight: 4",
        ),
        (
            (indptr, indices, x, out),
            {"edge_ids": torch.arange(4)},
            "edge_ids must be a contiguous torch.int64 tensor of shape [5] on cpu: torch.int64 [4] on cpu",
        ),
    ]
    for arguments, options, message in cases:
        with pytest.raises(InputError) as caught:
            ops.spmm(*arguments, **options)
        assert str(caught.value) == message

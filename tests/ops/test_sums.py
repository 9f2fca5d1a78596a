"""spmm and sddmm equal their twins, are each other's gradients, and absorb blocks one after another."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from fullgraph import ops
from fullgraph.errors import InputError
from tests.ops import twins
from tests.ops.blocks import DrawnBlock, block_of, blocks, heads, hub_block, wide, widths
from tests.ops.laws import assert_close, assert_thread_count_does_not_matter, num_threads

DTYPES = [torch.float64, torch.float32]


@pytest.mark.parametrize("dtype", DTYPES)
@given(
    block=blocks(),
    width=wide,
    num_heads=heads,
    weighted=st.sampled_from(["no", "edge", "head"]),
    overwrites=st.booleans(),
)
def test_spmm_equals_its_twin(
    block: DrawnBlock, width: int, num_heads: int, weighted: str, overwrites: bool, dtype: torch.dtype
) -> None:
    values = block.values(dtype)
    x, start = values(block.num_columns, num_heads * width), values(block.num_rows, num_heads * width)
    weight = {"no": None, "edge": values(block.num_edges), "head": values(block.num_edges, num_heads)}[weighted]
    got, want = start.clone(), start.clone()
    options = {"weight": weight, "edge_ids": block.edge_ids, "overwrites": overwrites}
    ops.spmm(*block.csr(), x, got, **options)
    twins.spmm(*block.csr(), x, want, **options)
    assert_close((got,), (want,))


@pytest.mark.parametrize("dtype", DTYPES)
@given(block=blocks(), width=wide, num_heads=heads)
def test_sddmm_equals_its_twin(block: DrawnBlock, width: int, num_heads: int, dtype: torch.dtype) -> None:
    values = block.values(dtype)
    left, right = values(block.num_rows, num_heads * width), values(block.num_columns, num_heads * width)
    got = values(block.num_edges, num_heads)
    want = got.clone()
    ops.sddmm(*block.csr(), left, right, got, edge_ids=block.edge_ids)
    twins.sddmm(*block.csr(), left, right, want, edge_ids=block.edge_ids)
    assert_close((got,), (want,))


@given(block=blocks(), width=widths, num_heads=heads)
def test_gradients_are_the_ops_themselves(block: DrawnBlock, width: int, num_heads: int) -> None:
    values = block.values()
    x = values(block.num_columns, num_heads * width).requires_grad_()
    weight = values(block.num_edges, num_heads).requires_grad_()
    grad = values(block.num_rows, num_heads * width)
    out = torch.zeros_like(grad)
    twins.spmm(*block.csr(), x, out, weight=weight, edge_ids=block.edge_ids)
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


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@num_threads(3)
def test_a_sum_that_overwrites_is_the_sum_into_zeros(dtype: torch.dtype) -> None:
    """On a block with a hub, rows without entries, and more columns than one tile."""
    block = hub_block()
    x = block.values()(block.num_columns, 300).to(dtype)
    fresh, added = (
        torch.full((block.num_rows, 300), torch.nan, dtype=dtype),
        torch.zeros(block.num_rows, 300, dtype=dtype),
    )
    ops.spmm(*block.csr(), x, fresh, overwrites=True)
    ops.spmm(*block.csr(), x, added)
    assert torch.equal(fresh, added)


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


@pytest.mark.parametrize("width", [1, 7, 33, 64, 300])
@pytest.mark.parametrize("dtype", DTYPES)
@num_threads(3)
def test_a_hub_in_segments_equals_the_twin(width: int, dtype: torch.dtype) -> None:
    """The twin adds 20,000 numbers in double precision, whatever the dtype; weights keep their sum near 1."""
    block = hub_block()
    values = block.values(dtype)
    x, grad, weight = values(block.num_columns, width), values(block.num_rows, width), values(block.num_edges) / 100
    out, dots = torch.zeros_like(grad), torch.zeros(block.num_edges, 1, dtype=dtype)
    ops.spmm(*block.csr(), x, out, weight=weight, edge_ids=block.edge_ids)
    ops.sddmm(*block.csr(), grad, x, dots, edge_ids=block.edge_ids)
    exact, exact_dots = out.double().zero_(), dots.double().zero_()
    twins.spmm(*block.csr(), x.double(), exact, weight=weight.double(), edge_ids=block.edge_ids)
    twins.sddmm(*block.csr(), grad.double(), x.double(), exact_dots, edge_ids=block.edge_ids)
    assert_close((out, dots), (exact.to(dtype), exact_dots.to(dtype)))


@num_threads(3)
def test_columns_in_tiles_equal_the_twin() -> None:
    """So many source rows that they exceed half of any last-level cache up to 200 MB, and a tile of them does not."""
    block = block_of([40_000 * 8] + [1] * 9, 40_000, 5, named=False)
    values = block.values(torch.float64)
    x, out = values(block.num_columns, 310), torch.zeros(block.num_rows, 310, dtype=torch.float64)
    exact = out.clone()
    ops.spmm(*block.csr(), x, out)
    for begin in range(0, 310, 31):
        columns = slice(begin, begin + 31)
        part = exact[:, columns].contiguous()
        twins.spmm(*block.csr(), x[:, columns].contiguous(), part)
        exact[:, columns] = part
    torch.testing.assert_close(out, exact, rtol=1e-9, atol=1e-9)


@given(block=blocks(), width=wide, num_heads=heads, weighted=st.booleans())
def test_bfloat16_rows_are_summed_in_float32(block: DrawnBlock, width: int, num_heads: int, weighted: bool) -> None:
    values = block.values(torch.float32)
    x = values(block.num_columns, num_heads * width).bfloat16()
    start = values(block.num_rows, num_heads * width)
    weight = values(block.num_edges, num_heads) if weighted else None
    wide_out, narrow_out = start.clone(), start.bfloat16()
    exact, exact_narrow = start.double(), narrow_out.double()
    for out in (wide_out, narrow_out):
        ops.spmm(*block.csr(), x, out, weight=weight, edge_ids=block.edge_ids)
    for out in (exact, exact_narrow):
        double = None if weight is None else weight.double()
        twins.spmm(*block.csr(), x.double(), out, weight=double, edge_ids=block.edge_ids)
    assert_close((wide_out,), (exact.float(),))
    torch.testing.assert_close(
        narrow_out.double(), exact_narrow, rtol=2**-8, atol=1e-4
    )  # half a unit in the last place
    twin = start.bfloat16()
    twins.spmm(*block.csr(), x, twin, weight=weight, edge_ids=block.edge_ids)
    torch.testing.assert_close(narrow_out, twin, rtol=2**-7, atol=1e-4)


def test_bfloat16_rounds_to_nearest_even_and_keeps_nan_and_infinity() -> None:
    """Against torch's own rounding, over sums that need it; every row has two entries."""
    generator = torch.Generator().manual_seed(0)
    x = (
        torch.randn(4096, 40, generator=generator) * 2.0 ** torch.randint(-6, 6, (4096, 40), generator=generator)
    ).bfloat16()
    x[5, 3], x[6, 4], x[7, 35] = torch.nan, torch.inf, -torch.inf
    indptr, indices = torch.arange(0, 4097, 2), torch.arange(4096, dtype=torch.int32)
    out = torch.zeros(2048, 40, dtype=torch.bfloat16)
    ops.spmm(indptr, indices, x, out)
    torch.testing.assert_close(out, (x[::2].float() + x[1::2].float()).bfloat16(), rtol=0, atol=0, equal_nan=True)


@pytest.mark.parametrize("out_dtype", [torch.bfloat16, torch.float32])
@num_threads(3)
def test_a_bfloat16_hub_loses_nothing_to_its_length_or_the_threads(out_dtype: torch.dtype) -> None:
    block = hub_block()
    x = torch.ones(block.num_columns, 70, dtype=torch.bfloat16)

    def run() -> tuple[torch.Tensor, ...]:
        out = torch.zeros(block.num_rows, 70, dtype=out_dtype)
        ops.spmm(*block.csr(), x, out)
        return (out,)

    degree = block.indptr.diff().to(out_dtype).unsqueeze(1).expand(-1, 70)
    assert torch.equal(run()[0], degree)  # a bfloat16 sum would have stopped at 256
    assert_thread_count_does_not_matter(run)


def test_other_dtypes_run_the_twin() -> None:
    block = block_of([2, 0, 3], 4, 0, named=False)
    x, out = torch.ones(4, 2, dtype=torch.float16), torch.zeros(3, 2, dtype=torch.float16)
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
            {"edge_ids": torch.arange(4).int()},
            "edge_ids must be a contiguous torch.int32 tensor of shape [5] on cpu: torch.int32 [4] on cpu",
        ),
    ]
    for arguments, options, message in cases:
        with pytest.raises(InputError) as caught:
            ops.spmm(*arguments, **options)
        assert str(caught.value) == message

"""extremum and its gradient equal their twins and torch's amax, with ties, NaN, empty rows and blocks in any split."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from fullgraph import ops
from fullgraph.ops.reference import rows_of
from tests.ops import twins
from tests.ops.blocks import DrawnBlock, blocks, hub_block, wide, widths
from tests.ops.laws import assert_close, assert_thread_count_does_not_matter, num_threads

DTYPES = [torch.float64, torch.float32]


def start(block: DrawnBlock, width: int, dtype: torch.dtype, *, largest: bool) -> tuple[Tensor, Tensor]:
    value = torch.full((block.num_rows, width), -torch.inf if largest else torch.inf, dtype=dtype)
    return value, torch.zeros(block.num_rows, width, dtype=torch.int32)


def with_ties(x: Tensor) -> Tensor:
    return (x * 2).round()


@pytest.mark.parametrize("dtype", DTYPES)
@given(block=blocks(), width=wide, largest=st.booleans(), nan=st.booleans())
def test_equals_its_twin(block: DrawnBlock, width: int, largest: bool, nan: bool, dtype: torch.dtype) -> None:
    x = with_ties(block.values(dtype)(block.num_columns, width))
    if nan:
        x[::3, ::2] = torch.nan
    got, want = start(block, width, dtype, largest=largest), start(block, width, dtype, largest=largest)
    for half in block.split():
        ops.extremum(*half.csr(), x, *got, largest=largest)
        twins.extremum(*half.csr(), x, *want, largest=largest)
    assert_close(got, want)
    assert torch.equal(got[1] == 0, (block.indptr.diff() == 0).unsqueeze(1).expand_as(got[1]))


@given(block=blocks(), width=widths, largest=st.booleans())
def test_two_blocks_equal_one(block: DrawnBlock, width: int, largest: bool) -> None:
    x = with_ties(block.values()(block.num_columns, width))
    merged, absorbed = (start(block, width, x.dtype, largest=largest) for _ in range(2))
    ops.extremum(*block.csr(), x, *merged, largest=largest)
    for half in block.split():
        ops.extremum(*half.csr(), x, *absorbed, largest=largest)
    assert torch.equal(merged[0], absorbed[0])
    assert torch.equal(merged[1], absorbed[1])


@pytest.mark.parametrize("dtype", DTYPES)
@given(block=blocks(), width=wide, largest=st.booleans())
def test_gradient_equals_its_twin_and_autograd(
    block: DrawnBlock, width: int, largest: bool, dtype: torch.dtype
) -> None:
    values = block.values(dtype)
    x, grad = with_ties(values(block.num_columns, width)).requires_grad_(), values(block.num_rows, width)
    value, count = start(block, width, dtype, largest=largest)
    ops.extremum(*block.csr(), x, value, count, largest=largest)

    block_t, share = block.transposed(), grad / count.clamp(min=1)
    got, twin = torch.zeros_like(x), torch.zeros_like(x)
    ops.extremum_backward(*block_t.csr(), x, value, share, got)
    twins.extremum_backward(*block_t.csr(), x, value, share, twin)
    assert_close((got,), (twin,))

    rows = rows_of(block.indptr).unsqueeze(1).expand(-1, width)
    initial, _ = start(block, width, dtype, largest=largest)
    reduced = initial.scatter_reduce(
        0, rows, x[block.indices.long()], "amax" if largest else "amin", include_self=False
    )
    (want,) = torch.autograd.grad((reduced * grad)[block.indptr.diff() > 0].sum() + 0 * x.sum(), x)
    assert_close((got,), (want,))


@pytest.mark.parametrize("largest", [True, False])
@pytest.mark.parametrize("dtype", DTYPES)
@num_threads(3)
def test_a_hub_in_segments_equals_the_twin(dtype: torch.dtype, largest: bool) -> None:
    block = hub_block()
    x = with_ties(block.values(dtype)(block.num_columns, 37))
    x[3, 5] = torch.nan
    got, want = start(block, 37, dtype, largest=largest), start(block, 37, dtype, largest=largest)
    ops.extremum(*block.csr(), x, *got, largest=largest)
    twins.extremum(*block.csr(), x, *want, largest=largest)
    assert_close(got, want)


@num_threads(3)
def test_the_gradient_of_a_hub_in_segments_equals_the_twin() -> None:
    """The same block read the other way: its long row is now a source with 20,000 destinations."""
    block = hub_block()
    values = block.values(torch.float64)
    value, grad = with_ties(values(block.num_columns, 37)), values(block.num_columns, 37)
    x = with_ties(values(block.num_rows, 37))
    got, want = torch.zeros_like(x), torch.zeros_like(x)
    ops.extremum_backward(*block.csr(), x, value, grad, got)
    twins.extremum_backward(*block.csr(), x, value, grad, want)
    torch.testing.assert_close(got, want, rtol=1e-10, atol=1e-10)


def test_ties_are_counted_and_rows_without_edges_are_left_alone() -> None:
    x = torch.tensor([[1.0, 5.0], [1.0, 2.0], [0.0, 5.0]])
    indptr, indices = torch.tensor([0, 3, 3]), torch.tensor([0, 1, 2], dtype=torch.int32)
    value, count = torch.full((2, 2), -torch.inf), torch.zeros(2, 2, dtype=torch.int32)
    ops.extremum(indptr, indices, x, value, count, largest=True)
    assert value.tolist() == [[1, 5], [-torch.inf, -torch.inf]]
    assert count.tolist() == [[2, 2], [0, 0]]


def test_any_number_of_threads_gives_the_same_bits() -> None:
    block = hub_block()
    values, block_t = block.values(torch.float32), block.transposed()
    x, grad = with_ties(values(block.num_columns, 17)), values(block.num_rows, 17)

    def run() -> tuple[Tensor, ...]:
        value, count = start(block, 17, torch.float32, largest=True)
        out = torch.zeros_like(x)
        ops.extremum(*block.csr(), x, value, count, largest=True)
        ops.extremum_backward(*block_t.csr(), x, value, grad, out)
        return value, count, out

    assert_thread_count_does_not_matter(run)

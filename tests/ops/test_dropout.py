"""Dropout by hash: the kernel and its twin draw the same bits, at the right rate, in any order of rows."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from fullgraph import ops
from fullgraph.errors import InputError
from fullgraph.ops import reference
from tests.ops.laws import assert_thread_count_does_not_matter

DTYPES = [torch.float64, torch.float32, torch.bfloat16]
keys = st.integers(0, 2**63 - 1)
ids = st.integers(-(2**63), 2**63 - 1)


@pytest.mark.parametrize("dtype", DTYPES)
@given(
    key=keys, row_ids=st.lists(ids, max_size=8), width=st.integers(0, 40), p=st.floats(0, 1), seed=st.integers(0, 99)
)
def test_equals_its_twin_bit_for_bit(
    key: int, row_ids: list[int], width: int, p: float, seed: int, dtype: torch.dtype
) -> None:
    x = torch.randn(len(row_ids), width, generator=torch.Generator().manual_seed(seed)).to(dtype)
    rows = torch.tensor(row_ids, dtype=torch.int64)
    assert torch.equal(ops.dropout(x, p, key, rows), reference.dropout(x, p, key, rows))


@pytest.mark.parametrize("dtype", [*DTYPES, torch.float16])
def test_rows_may_be_written_over(dtype: torch.dtype) -> None:
    x, rows = torch.randn(300, 33, generator=torch.Generator().manual_seed(0)).to(dtype), torch.arange(300)
    wanted = ops.dropout(x, 0.3, 5, rows)
    assert ops.dropout(x, 0.3, 5, rows, out=x) is x
    assert torch.equal(x, wanted)
    with pytest.raises(InputError, match=r"^out must be a contiguous .* tensor of shape \[300, 33\]"):
        ops.dropout(x, 0.3, 5, rows, out=x[1:])


def splitmix_keep(key: int, row_id: int, column: int, p: float) -> bool:
    """The definition, in Python's unbounded integers."""
    full = 2**64
    z = (key + row_id * 0x9E3779B97F4A7C15 + column * 0xD1B54A32D192ED03) % full
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9 % full
    z = (z ^ (z >> 27)) * 0x94D049BB133111EB % full
    z = z ^ (z >> 31)
    return (z >> 40) >= round(p * 2**24)


@given(key=keys, row_id=ids, column=st.integers(0, 2**31), p=st.floats(0, 1))
def test_the_twin_is_the_definition(key: int, row_id: int, column: int, p: float) -> None:
    got = reference.keep_mask(key, torch.tensor([row_id]), torch.tensor([column]), p)
    assert got.item() == splitmix_keep(key, row_id, column, p)


@pytest.mark.parametrize("p", [0.1, 0.5, 0.6, 0.9])
def test_keeps_the_right_share_and_the_mean(p: float) -> None:
    num_rows, width = 2000, 100
    out = ops.dropout(torch.ones(num_rows, width, dtype=torch.float64), p, 12345, torch.arange(num_rows))
    kept = out != 0
    assert torch.equal(out[kept].unique(), torch.tensor([1 / (1 - p)], dtype=torch.float64))
    deviation = (p * (1 - p) / kept.numel()) ** 0.5
    assert abs(kept.double().mean().item() - (1 - p)) < 4 * deviation
    for axis, length in ((0, num_rows), (1, width)):  # no row and no column is favoured
        assert (kept.double().mean(axis) - (1 - p)).abs().max() < 6 * (p * (1 - p) / length) ** 0.5


def test_a_row_is_known_by_its_id_not_by_its_place() -> None:
    x, row_ids = torch.randn(50, 7), torch.arange(50) * 1_000_003
    order = torch.randperm(50)
    assert torch.equal(ops.dropout(x, 0.5, 9, row_ids)[order], ops.dropout(x[order], 0.5, 9, row_ids[order]))


def test_another_key_is_another_mask_and_the_ends_are_exact() -> None:
    x, row_ids = torch.ones(200, 50), torch.arange(200)
    assert not torch.equal(ops.dropout(x, 0.5, 1, row_ids), ops.dropout(x, 0.5, 2, row_ids))
    assert torch.equal(ops.dropout(x, 0.0, 1, row_ids), x)
    assert torch.equal(ops.dropout(x, 1.0, 1, row_ids), torch.zeros_like(x))


def test_it_is_its_own_adjoint() -> None:
    x, y, row_ids = torch.randn(30, 9).double(), torch.randn(9, 30).double().T, torch.arange(30)
    left, right = (ops.dropout(x, 0.3, 5, row_ids) * y).sum(), (x * ops.dropout(y, 0.3, 5, row_ids)).sum()
    torch.testing.assert_close(left, right)


def test_any_number_of_threads_gives_the_same_bits() -> None:
    x, row_ids = torch.randn(5000, 33), torch.arange(5000)
    assert_thread_count_does_not_matter(lambda: (ops.dropout(x, 0.5, 3, row_ids),))


def test_what_is_out_of_range_is_named() -> None:
    x, row_ids = torch.ones(2, 2), torch.arange(2)
    cases = [
        ((x, 1.5, 0, row_ids), "the probability of dropping must be between 0 and 1: 1.5"),
        ((x, 0.5, -1, row_ids), "a dropout key must be an int from 0 to 2**63 - 1: -1"),
        ((x[0], 0.5, 0, row_ids), "x must have the shape [rows, width]: [2]"),
        (
            (x, 0.5, 0, row_ids[:1]),
            "row_ids must be a contiguous torch.int64 tensor of shape [2] on cpu: torch.int64 [1] on cpu",
        ),
    ]
    for arguments, message in cases:
        with pytest.raises(InputError) as caught:
            ops.dropout(*arguments)
        assert str(caught.value) == message
    with pytest.raises(InputError, match=r"^edge_keys must be a contiguous torch.int64 tensor"):
        ops.Dropout(p=0.5, key=0, edge_keys=torch.ones(3))

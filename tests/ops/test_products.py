"""Products of rows and a matrix: close to float64's for any size, order of memory and dtype, on either way."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

import fullgraph as fg
from fullgraph import ops
from fullgraph.ops import blas

sizes = st.integers(0, 70)
ways = pytest.mark.parametrize("chosen", blas.NAMES)


def rows(num_rows: int, width: int, seed: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    return torch.randn(num_rows, width, generator=torch.Generator().manual_seed(seed)).to(dtype)


def in_order(x: torch.Tensor, order: str) -> torch.Tensor:
    if order == "by columns":
        return x.T.contiguous().T
    return x if order == "by rows" else torch.cat([x, x], 1)[:, : x.size(1)]


@contextmanager
def multiplied_by(name: str) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(blas.BLAS, name)
        yield


orders = st.sampled_from(["by rows", "by columns", "part of a row"])


@ways
@given(n=sizes, width=sizes, out=sizes, has_bias=st.booleans(), order=orders, matrix_order=orders)
def test_product_equals_float64(chosen, n, width, out, has_bias, order, matrix_order):
    x, matrix = in_order(rows(n, width, 0), order), in_order(rows(out, width, 1), matrix_order)
    bias = rows(1, out, 2)[0] if has_bias else None
    with multiplied_by(chosen):
        got = ops.product(x, matrix, bias)
    wanted = F.linear(x.double(), matrix.double(), None if bias is None else bias.double())
    torch.testing.assert_close(got, wanted.float(), rtol=1e-5, atol=1e-4)


@ways
@given(n=sizes, width=sizes, out=sizes, order=orders, left_order=orders)
def test_outer_sum_equals_float64(chosen, n, width, out, order, left_order):
    left, right = in_order(rows(n, out, 0), left_order), in_order(rows(n, width, 1), order)
    with multiplied_by(chosen):
        got = ops.outer_sum(left, right)
    torch.testing.assert_close(got, (left.double().T @ right.double()).float(), rtol=1e-5, atol=1e-4)


@ways
def test_outer_sum_of_more_rows_than_are_summed_at_a_time(chosen):
    left, right = rows(7001, 200, 0), rows(7001, 130, 1)
    wanted = left.double().T @ right.double()
    with multiplied_by(chosen):
        torch.testing.assert_close(ops.outer_sum(left, right), wanted.float(), rtol=1e-5, atol=1e-3)


def test_who_multiplies_is_the_choice_of_the_environment_or_measured(monkeypatch):
    x, matrix = rows(64, 300, 0), rows(30, 300, 1)
    monkeypatch.setenv(blas.BLAS, "torch")
    assert torch.equal(ops.product(x, matrix), F.linear(x, matrix))
    monkeypatch.setenv(blas.BLAS, "onednn")
    assert torch.equal(ops.product(x, matrix), blas.onednn_product(x, matrix))
    monkeypatch.delenv(blas.BLAS)
    assert blas.blas() in blas.NAMES
    assert torch.get_num_threads() == 1  # as it was


def test_a_library_that_torch_does_not_have_is_refused(monkeypatch):
    monkeypatch.setenv(blas.BLAS, "openblas")
    with pytest.raises(
        fg.errors.InputError, match="FULLGRAPH_BLAS must be one of torch, onednn, or not be set: 'openblas'"
    ):
        ops.product(rows(5, 3, 0), rows(4, 3, 1))


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_other_dtypes_go_the_way_of_torch(dtype):
    x, matrix = rows(5, 3, 0, dtype), rows(4, 3, 1, dtype)
    assert not ops.chooses_blas(x, matrix)
    assert torch.equal(ops.product(x, matrix), F.linear(x, matrix))
    assert torch.equal(ops.outer_sum(x, x), x.T @ x)


def test_what_does_not_fit_is_refused_as_torch_does():
    with pytest.raises(RuntimeError, match=r"mat1 and mat2 shapes cannot be multiplied \(5x3 and 2x4\)"):
        ops.product(rows(5, 3, 0), rows(4, 2, 1))
    with pytest.raises(RuntimeError, match=r"mat1 and mat2 shapes cannot be multiplied \(3x5 and 6x2\)"):
        ops.outer_sum(rows(5, 3, 0), rows(6, 2, 1))
    with pytest.raises(RuntimeError):
        ops.product(rows(5, 3, 0), rows(4, 3, 1), rows(1, 5, 2)[0])

"""The steps of a norm: each kernel beside its twin in float64, the same bits on any number of threads, bad input."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from fullgraph import ops
from fullgraph.errors import InputError
from fullgraph.ops import reference
from tests.ops.laws import assert_thread_count_does_not_matter

NUM_COLUMNS = {  # beside the mean
    "squared_deviations": 0,
    "scaled_deviations": 2,
    "gradient_sums": 0,
    "combined_gradient": 3,
    "positive_gradient": 2,
}
OF_GRADIENTS = {"gradient_sums", "combined_gradient", "positive_gradient"}
DTYPES = [torch.float32, torch.float64, torch.bfloat16]
names = pytest.mark.parametrize("name", NUM_COLUMNS)


def given_to(name: str, num_rows: int, width: int, dtype: torch.dtype, far: float = 0.0) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    rows = [torch.randn(num_rows, width, generator=generator, dtype=torch.float64) for _ in range(2)]
    columns = [torch.randn(width, generator=generator, dtype=torch.float64) for _ in range(1 + NUM_COLUMNS[name])]
    rows[-1] += far
    columns[0] += far
    of_rows = [t.to(dtype) for t in (rows if name in OF_GRADIENTS else rows[1:])]
    return of_rows + [t.to(ops.accumulator(dtype)) for t in columns]


@names
@given(num_rows=st.integers(0, 1100), width=st.integers(0, 37), dtype=st.sampled_from(DTYPES))
def test_equals_its_twin(name: str, num_rows: int, width: int, dtype: torch.dtype) -> None:
    arguments = given_to(name, num_rows, width, dtype)
    got = getattr(ops, name)(*arguments)
    wanted = getattr(reference, name)(*(t.double() for t in arguments))
    if name == "positive_gradient":  # within the rounding of zero either answer is right
        near_zero = reference.scaled_deviations(*(t.double() for t in arguments[1:])).abs() < 1e-5
        got, wanted = got.masked_fill(near_zero, 0), wanted.masked_fill(near_zero, 0)
    assert got.dtype == (torch.float64 if name in ("squared_deviations", "gradient_sums") else dtype)
    if got.dtype == torch.bfloat16:  # rounded once, as the kernel's number is
        wanted = wanted.bfloat16().double()
    rtol = {torch.float64: 1e-12, torch.float32: 1e-5, torch.bfloat16: 1e-2 if got.dtype == dtype else 1e-5}[dtype]
    torch.testing.assert_close(got.double(), wanted, rtol=rtol, atol=1e-3)


def test_deviations_keep_their_digits_far_from_zero() -> None:
    x, mean, scale, shift = given_to("scaled_deviations", 600, 5, torch.float64, far=1e8)
    wanted = (x - mean) * scale + shift
    torch.testing.assert_close(ops.scaled_deviations(x, mean, scale, shift), wanted, rtol=1e-14, atol=1e-14)
    squares = (x - mean).square().sum(0)
    torch.testing.assert_close(ops.squared_deviations(x, mean), squares, rtol=1e-13, atol=0)


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_gradient_of_a_relu_is_cut_where_the_relu_was(dtype: torch.dtype) -> None:
    grad, x, mean, scale, shift = given_to("positive_gradient", 3000, 33, dtype)
    x[5], x[6, 3] = mean, torch.nan
    mean = x[5].to(mean.dtype)  # a row at its mean, with a shift of 0 below, is exactly 0
    shift[:9] = 0
    argument = ops.scaled_deviations(x, mean, scale, shift).requires_grad_()
    argument.relu().backward(grad)
    got = ops.positive_gradient(grad, x, mean, scale, shift)
    assert got[5, :9].eq(0).all()
    assert torch.equal(got, argument.grad)


@pytest.mark.parametrize("dtype", [*DTYPES, torch.float16])
def test_sums_of_columns(dtype: torch.dtype) -> None:
    x = torch.randn(5000, 65, generator=torch.Generator().manual_seed(0)).to(dtype)
    got = ops.column_sums(x)
    assert got.dtype == torch.float64
    torch.testing.assert_close(got, x.double().sum(0), rtol=1e-12 if dtype == torch.float64 else 1e-5, atol=1e-4)
    assert_thread_count_does_not_matter(lambda: (ops.column_sums(x),))
    assert ops.column_sums(x[:0]).eq(0).all()
    with pytest.raises(InputError, match=r"^x must be a contiguous "):
        ops.column_sums(x.T)


@names
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_any_number_of_threads_gives_the_same_bits(name: str, dtype: torch.dtype) -> None:
    arguments = given_to(name, 5000, 65, dtype)
    assert_thread_count_does_not_matter(lambda: (getattr(ops, name)(*arguments),))


@names
def test_other_dtypes_run_the_twin(name: str) -> None:
    arguments = given_to(name, 20, 3, torch.float16)
    got, wanted = getattr(ops, name)(*arguments), getattr(reference, name)(*arguments)
    assert torch.equal(got, wanted.to(got.dtype))
    assert got.dtype == (torch.float64 if name in ("squared_deviations", "gradient_sums") else torch.float16)


@pytest.mark.parametrize("name", ["combined_gradient", "positive_gradient"])
@pytest.mark.parametrize("dtype", [*DTYPES, torch.float16])
def test_a_gradient_may_be_written_over(name: str, dtype: torch.dtype) -> None:
    arguments = given_to(name, 3000, 33, dtype)
    wanted, grad = getattr(ops, name)(*arguments), arguments[0]
    assert getattr(ops, name)(*arguments, out=grad) is grad
    assert torch.equal(grad, wanted)
    with pytest.raises(InputError, match=r"^out must be a contiguous .* tensor of shape \[3000, 33\]"):
        getattr(ops, name)(*arguments, out=grad[1:])


@names
def test_what_does_not_fit_is_refused(name: str) -> None:
    arguments = given_to(name, 20, 3, torch.float32)
    wrong = [*arguments[:-1], arguments[-1][:2]]
    with pytest.raises(InputError, match=r"^what is given by column must be a contiguous torch.float32 tensor"):
        getattr(ops, name)(*wrong)
    wrong = [arguments[0].T, *arguments[1:]]
    with pytest.raises(InputError, match=r"must be a contiguous torch.float32 tensor of shape \[(any, any|20, 3)\]"):
        getattr(ops, name)(*wrong)

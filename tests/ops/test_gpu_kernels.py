"""The kernels for GPUs equal their twins: on a GPU with ``--device cuda``, else in Triton's interpreter."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor

from fullgraph import ops
from fullgraph.ops import gpu
from tests.ops import twins
from tests.ops.attention_problems import SCORES, Problem
from tests.ops.blocks import DrawnBlock, block_of, blocks

pytest.importorskip("triton")
pytestmark = pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")  # of the interpreter, about infinities
DTYPES = [torch.float64, torch.float32] if torch.cuda.is_available() else [torch.float64]
LIMIT = 32
HUB = [2, 150, 0, 45, 1, 32, 33]
"""Degrees: rows of several segments, one that two others share a range with, and the longest that is not cut."""
few = settings(max_examples=4, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture(autouse=True)
def take_all_rows(monkeypatch: pytest.MonkeyPatch, device: str) -> None:
    """Without a GPU the interpreter takes rows on the CPU, and takes its time."""
    monkeypatch.setattr("fullgraph.ops._triton.rows.LIMIT", LIMIT)
    if device == "cpu":
        monkeypatch.setattr(gpu, "runs", lambda rows: rows.dtype in gpu._DTYPES)


def assert_close(got: tuple[Tensor, ...], want: tuple[Tensor, ...]) -> None:
    for left, right in zip(got, want, strict=True):
        largest = float(right.abs().nan_to_num(0, 0).max()) if right.numel() else 0.0
        tolerance = 1e-12 if right.dtype == torch.float64 else 5e-5
        torch.testing.assert_close(left, right, rtol=tolerance, atol=tolerance * (1 + largest), equal_nan=True)


def drawn(device: str) -> tuple[DrawnBlock, DrawnBlock]:
    return tuple(block_of(degrees, 9, 1, named=True).to(device) for degrees in ([3, 0, 17, 1, 40, 16], HUB))  # pyright: ignore[reportReturnType]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("width", [7, 130])
@pytest.mark.parametrize("weighted", ["no", "edge", "head"])
def test_sums(width: int, weighted: str, dtype: torch.dtype, device: str) -> None:
    for block in drawn(device):
        values, heads = block.values(dtype), 1 if width == 7 else 2
        x, start, grad = (values(n, width) for n in (block.num_columns, block.num_rows, block.num_rows))
        dots = values(block.num_edges, heads)
        weight = {"no": None, "edge": values(block.num_edges), "head": values(block.num_edges, heads)}[weighted]
        for overwrites in (False, True):
            given = {"weight": weight, "edge_ids": block.edge_ids, "overwrites": overwrites}
            assert_alike(lambda m, out, g=given, b=block, x=x: m.spmm(*b.csr(), x, out, **g), start)
        ids = block.edge_ids
        assert_alike(lambda m, out, b=block, g=grad, x=x, i=ids: m.sddmm(*b.csr(), g, x, out, edge_ids=i), dots)


@pytest.mark.parametrize("dtype", [*DTYPES, torch.bfloat16])
@pytest.mark.parametrize("largest", [True, False])
def test_extrema(largest: bool, dtype: torch.dtype, device: str) -> None:
    """With ties, infinities and NaN, absorbed in two halves."""
    for block in drawn(device):
        values = block.values(dtype)
        x = (2 * values(block.num_columns, 70)).round()
        x[0, 3], x[1, 4], x[2, 4], x[:, 5], x[:, 6] = torch.nan, torch.inf, torch.nan, -torch.inf, torch.inf
        value = torch.full((block.num_rows, 70), -torch.inf if largest else torch.inf, dtype=dtype, device=device)
        count = torch.zeros_like(value, dtype=torch.int32)

        def absorb(module: Any, value: Tensor, count: Tensor, b: DrawnBlock = block, x: Tensor = x) -> None:
            for half in b.split():
                module.extremum(*half.csr(), x, value, count, largest=largest)

        value, count = assert_alike(absorb, value, count)
        back, grad, start = block.transposed(), values(block.num_rows, 70), values(block.num_columns, 70)
        if dtype != torch.bfloat16:
            given = (*back.csr(), x, value, grad)
            assert_alike(lambda m, out, g=given: m.extremum_backward(*g, out), start)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("score", SCORES)
@pytest.mark.parametrize(
    ("bias", "p", "averages", "num_heads", "width"), [(True, 0.3, False, 3, 5), (False, 0.0, True, 1, 33)]
)
def test_attention(
    score: type[Problem],
    bias: bool,
    p: float,
    averages: bool,
    num_heads: int,
    width: int,
    dtype: torch.dtype,
    device: str,
) -> None:
    for block in drawn(device):
        problem = score(block, num_heads, width, dtype, bias=bias, p=p, averages=averages)
        assert_close(problem.forward(ops, *block.split()), problem.forward(twins))
        got = problem.backward(ops)
        assert_close(got, problem.backward(twins))
        assert all(map(torch.equal, got, problem.backward(ops)))  # the same bits on every run


@pytest.mark.parametrize("score", SCORES)
@few
@given(block=blocks(), num_heads=st.integers(1, 9), width=st.sampled_from([1, 8, 20, 70]), bias=st.booleans())
def test_attention_over_any_block(
    score: type[Problem], block: DrawnBlock, num_heads: int, width: int, bias: bool, device: str
) -> None:
    problem = score(block.to(device), num_heads, width, torch.float64, bias=bias, p=0.5)
    assert_close(problem.forward(ops), problem.forward(twins))
    assert_close(problem.backward(ops), problem.backward(twins))


@pytest.mark.parametrize("dtype", [*DTYPES, torch.bfloat16, torch.float16])
def test_dropout_draws_what_the_twin_draws(dtype: torch.dtype, device: str) -> None:
    values = drawn(device)[0].values(dtype)
    x, ids = values(50, 37), values.keys(50)
    for p in (0.0, 0.4, 1.0):
        got, want = ops.dropout(x, p, 2**62 + 7, ids), ops.reference.dropout(x, p, 2**62 + 7, ids)
        assert torch.equal(got == 0, want == 0)
        torch.testing.assert_close(got, want)


@pytest.mark.parametrize("dtype", DTYPES)
def test_steps_of_a_norm(dtype: torch.dtype, device: str) -> None:
    values = drawn(device)[0].values(dtype)
    grad, x = values(700, 70), values(700, 70)
    mean, scale, of_deviation, shift = (values(70) for _ in range(4))
    given = {
        "squared_deviations": (x, mean),
        "gradient_sums": (grad, x, mean),
        "scaled_deviations": (x, mean, scale, shift),
        "combined_gradient": (grad, x, mean, scale, of_deviation, shift),
        "positive_gradient": (grad, x, mean, scale, shift),
    }
    for name, tensors in given.items():
        got, want = getattr(ops, name)(*tensors), getattr(ops.reference, name)(*tensors)
        torch.testing.assert_close(got, want, rtol=1e-5 if dtype == torch.float32 else 1e-12, atol=1e-4)


def test_dots_of_heads(device: str) -> None:
    values = drawn(device)[0].values(torch.float32)
    right = values(50, 3, 7)
    for left in (values(50, 3, 7), values(50, 1, 7)):
        torch.testing.assert_close(ops.head_dots(left, right), (left * right).sum(2))


@pytest.mark.parametrize("score", SCORES)
def test_rows_of_16_bits_beside_float32(score: type[Problem], device: str) -> None:
    """Weighted and summed as the twin does, in float32, and rounded once."""
    for block in drawn(device):
        problem = score(block, 2, 5, torch.bfloat16, bias=False, p=0.0)
        exact = score(block, 2, 5, torch.float64, bias=False, p=0.0)
        for name, value in vars(problem).items():
            if isinstance(value, Tensor):
                setattr(exact, name, value.double())
        for got, want in zip(
            (*problem.forward(ops), *problem.backward(ops)),
            (*exact.forward(twins), *exact.backward(twins)),
            strict=True,
        ):
            largest = float(want.abs().nan_to_num(0, 0).max())
            torch.testing.assert_close(got.double(), want, rtol=1e-2, atol=1e-2 * (1 + largest), equal_nan=True)


def assert_alike(call: Callable[..., None], *outs: Tensor) -> tuple[Tensor, ...]:
    """An op and its twin change tensors alike."""
    got, want = tuple(t.clone() for t in outs), tuple(t.clone() for t in outs)
    call(ops, *got)
    call(twins, *want)
    assert_close(got, want)
    return got

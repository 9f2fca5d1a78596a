"""Fused attention equals its twins, its gradients equal autograd's, and it does not see how blocks are cut."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from fullgraph import ops
from fullgraph.errors import InputError
from tests.ops import twins
from tests.ops.attention_problems import SCORES, SLOPE, Additive, Gatv2, Problem, ScaledDot
from tests.ops.blocks import DrawnBlock, block_of, blocks, hub_block
from tests.ops.laws import assert_close, assert_thread_count_does_not_matter, num_threads

DTYPES = [torch.float64, torch.float32]
heads = st.integers(1, 5)
channels = st.one_of(st.integers(1, 20), st.sampled_from([8, 16, 32, 33, 47, 64, 70]))
probabilities = st.sampled_from([0.0, 0.6])


@pytest.mark.parametrize("score", SCORES)
@pytest.mark.parametrize("dtype", DTYPES)
@given(block=blocks(), num_heads=heads, width=channels, bias=st.booleans(), p=probabilities)
def test_forward_equals_its_twin(
    block: DrawnBlock, num_heads: int, width: int, bias: bool, p: float, dtype: torch.dtype, score: type[Problem]
) -> None:
    problem = score(block, num_heads, width, dtype, bias=bias, p=p)
    assert_close(problem.forward(ops), problem.forward(twins))


@pytest.mark.parametrize("score", SCORES)
@given(block=blocks(), num_heads=heads, width=channels, bias=st.booleans(), p=probabilities)
def test_two_blocks_in_any_order_equal_one(
    block: DrawnBlock, num_heads: int, width: int, bias: bool, p: float, score: type[Problem]
) -> None:
    problem = score(block, num_heads, width, torch.float64, bias=bias, p=p)
    first, second = block.split()
    whole = problem.forward(ops)
    assert_close(problem.forward(ops, first, second), whole)
    assert_close(problem.forward(ops, second, first), whole)


@pytest.mark.parametrize("score", SCORES)
@pytest.mark.parametrize("dtype", DTYPES)
@given(block=blocks(), num_heads=heads, width=channels, bias=st.booleans(), p=probabilities, averages=st.booleans())
def test_backward_equals_its_twin(
    block: DrawnBlock,
    num_heads: int,
    width: int,
    bias: bool,
    p: float,
    averages: bool,
    dtype: torch.dtype,
    score: type[Problem],
) -> None:
    problem = score(block, num_heads, width, dtype, bias=bias, p=p, averages=averages)
    for got, want in zip(problem.backward(ops), problem.backward(twins), strict=True):
        largest = float(want.abs().max()) if want.numel() else 0.0
        # In float32 sums over a hub's edges lose up to 3e-5 where their terms cancel, in the twins as in the kernels.
        torch.testing.assert_close(got, want, rtol=0, atol=(1e-12 if dtype == torch.float64 else 5e-5) * (1 + largest))


@pytest.mark.parametrize("score", SCORES)
@given(block=blocks(), num_heads=heads, width=channels, bias=st.booleans(), p=probabilities, averages=st.booleans())
def test_backward_equals_autograd(
    block: DrawnBlock, num_heads: int, width: int, bias: bool, p: float, averages: bool, score: type[Problem]
) -> None:
    problem = score(block, num_heads, width, torch.float64, bias=bias, p=p, averages=averages)
    for got, want in zip(problem.backward(ops), problem.autograd(), strict=True):
        torch.testing.assert_close(got, want, rtol=1e-10, atol=1e-10)


HUBS = {"hub of destinations": hub_block, "hub of sources": lambda: hub_block().transposed()}


@pytest.mark.parametrize("averages", [False, True])
@pytest.mark.parametrize("hub", HUBS)
@pytest.mark.parametrize("score", SCORES)
@num_threads(3)
def test_a_hub_that_several_threads_share_equals_its_twin(score: type[Problem], hub: str, averages: bool) -> None:
    problem = score(HUBS[hub](), 3, 5, torch.float64, bias=True, p=0.3, averages=averages)
    assert_close(problem.forward(ops), problem.forward(twins))
    for got, want in zip(problem.backward(ops), problem.backward(twins), strict=True):
        torch.testing.assert_close(got, want, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("averages", [False, True])
@pytest.mark.parametrize("width", [3, 32, 47])
@pytest.mark.parametrize("num_heads", [1, 4, 6])
@pytest.mark.parametrize("score", SCORES)
@num_threads(3)
def test_many_rows_with_few_edges_equal_their_twin(
    score: type[Problem], num_heads: int, width: int, averages: bool
) -> None:
    """So many that kernels take them in several portions, with longer rows and rows without edges in between."""
    block = block_of([*range(20), 0, 0, 1, 2, 1, 33, 1, 3] * 12, 150, 0, named=True)
    for dtype in DTYPES:
        problem = score(block, num_heads, width, dtype, bias=num_heads > 1, p=0.3, averages=averages)
        assert_close(problem.forward(ops), problem.forward(twins))
        for got, want in zip(problem.backward(ops), problem.backward(twins), strict=True):
            tolerance = (1e-12 if dtype == torch.float64 else 2e-5) * (1 + float(want.abs().max()))
            torch.testing.assert_close(got, want, rtol=0, atol=tolerance)


@pytest.mark.parametrize("width", [9, 32])
@pytest.mark.parametrize("hub", HUBS)
@pytest.mark.parametrize("score", SCORES)
def test_any_number_of_threads_gives_the_same_bits(score: type[Problem], hub: str, width: int) -> None:
    problem = score(HUBS[hub](), 3, width, torch.float32, bias=True, p=0.5)
    assert_thread_count_does_not_matter(lambda: (*problem.forward(ops), *problem.backward(ops)))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("score", SCORES)
def test_logits_far_apart_neither_overflow_nor_vanish(score: type[Problem], dtype: torch.dtype) -> None:
    block = block_of([3, 100], 100, 0, named=False)
    problem = score(block, 2, 3, dtype, bias=True, p=0.0)
    problem.bias = torch.linspace(-1e4, 1e4, block.num_edges, dtype=dtype).unsqueeze(1).repeat(1, 2)
    state = problem.forward(ops)
    assert all(torch.isfinite(part).all() for part in state)
    assert_close(state, problem.forward(twins))
    assert all(torch.isfinite(part).all() for part in problem.backward(ops))


@pytest.mark.parametrize("score", SCORES)
def test_rows_without_edges_stay_as_they_are(score: type[Problem]) -> None:
    problem = score(block_of([0, 4, 0], 5, 0, named=False), 2, 3, torch.float32, bias=False, p=0.0)
    maximum, total, acc = problem.forward(ops)
    assert (maximum[[0, 2]] == -torch.inf).all()
    assert not total[[0, 2]].any()
    assert not acc[[0, 2]].any()


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
    indptr, indices = torch.tensor([0, 1, 2]), torch.tensor([0, 0], dtype=torch.int32)
    x, zeros = torch.tensor([[[1.0]], [[3.0]]]), torch.zeros(2, 1)
    lse, grad, delta = torch.full((1, 1), 2.0).log(), torch.ones(1, 1, 1), torch.full((1, 1), 2.0)
    grad_bias, grad_dst = torch.zeros(2, 1), torch.zeros(1, 1)
    ops.attention_backward(
        indptr,
        indices,
        x,
        zeros,
        zeros[:1],
        lse,
        grad,
        delta,
        torch.zeros_like(x),
        torch.zeros(2, 1),
        grad_dst,
        negative_slope=SLOPE,
        grad_bias=grad_bias,
    )
    torch.testing.assert_close(grad_bias, torch.tensor([[-0.5], [0.5]]) * SLOPE)


@pytest.mark.parametrize(
    ("score", "name"), [(Additive, "score_src"), (Gatv2, "att"), (ScaledDot, "value")], ids=lambda value: str(value)
)
def test_what_does_not_fit_is_named(score: type[Problem], name: str) -> None:
    problem = score(block_of([2, 1], 3, 0, named=False), 2, 4, torch.float32, bias=True, p=0.5)
    shape = list(getattr(problem, name).shape)
    setattr(problem, name, getattr(problem, name)[..., :1].contiguous())
    with pytest.raises(InputError) as caught:
        problem.forward(ops)
    assert str(caught.value) == (
        f"{name} must be a contiguous torch.float32 tensor of shape {shape} on cpu: "
        f"torch.float32 {[*shape[:-1], 1]} on cpu"
    )


@pytest.mark.parametrize("score", SCORES)
def test_a_gradient_of_some_heads_is_refused(score: type[Problem]) -> None:
    problem = score(block_of([2, 1], 3, 0, named=False), 3, 4, torch.float32, bias=False, p=0.0)
    maximum, total, _ = problem.forward(ops)
    problem.grad = problem.grad[:, :2].contiguous()
    with pytest.raises(InputError) as caught:
        problem.gradients(ops, maximum, total, None)
    assert str(caught.value) == (
        "grad must be a contiguous torch.float32 tensor of shape [2, 3, 4] on cpu: torch.float32 [2, 2, 4] on cpu"
    )

"""Attention and dropout as operators of torch: its rules hold, gradients are exact, and compilers keep them whole."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from fullgraph import ops
from fullgraph.ops import registered_attention as registered
from tests.ops.attention_problems import SCALE, SCORES, SLOPE, Additive, Gatv2, Problem, ScaledDot
from tests.ops.blocks import block_of

BLOCK = block_of([3, 0, 7, 1], 6, 3, named=True)
FUNCTIONS = {
    Additive: (registered.attention, SLOPE),
    Gatv2: (registered.attention_v2, SLOPE),
    ScaledDot: (registered.attention_dot, SCALE),
}


def functional(problem: Problem) -> tuple[Callable[..., Any], tuple[Any, ...]]:
    """The operator of the problem's score, and its arguments."""
    function, number = FUNCTIONS[type(problem)]
    block, block_t = problem.block, problem.block.transposed()
    arrays = (*block.csr(), block.edge_ids, *block_t.csr(), block_t.edge_ids)
    drop = problem.dropout
    last = (0.0, 0, None) if drop is None else (drop.p, drop.key, drop.edge_keys)
    leaves = [tensor.requires_grad_() for tensor in problem.inputs()]
    bias = None if problem.bias is None else problem.bias.requires_grad_()
    return function, (*arrays, *leaves, bias, number, *last)


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("score", SCORES)
def test_gradients_are_exact(score: type[Problem], bias: bool) -> None:
    function, arguments = functional(score(BLOCK, 2, 3, torch.float64, bias=bias, p=0.4))

    def out(*inputs: Tensor) -> Tensor:
        return function(*arguments[:6], *inputs, *arguments[6 + len(inputs) :])[0]

    assert torch.autograd.gradcheck(out, arguments[6 : 10 if bias else 9])


@pytest.mark.parametrize("score", SCORES)
def test_torchs_rules_for_operators_hold(score: type[Problem]) -> None:
    function, arguments = functional(score(BLOCK, 2, 3, torch.float64, bias=True, p=0.4))
    torch.library.opcheck(function, arguments)


@pytest.mark.parametrize("score", SCORES)
def test_what_is_added_into_is_declared(score: type[Problem]) -> None:
    problem = score(BLOCK, 2, 3, torch.float64, bias=True, p=0.4)
    name = {Additive: "attention_forward_", Gatv2: "attention_v2_forward_", ScaledDot: "attention_dot_forward_"}[score]
    state = problem.forward(ops)
    assert problem.dropout is not None
    last = (problem.bias, BLOCK.edge_ids, problem.dropout.p, problem.dropout.key, problem.dropout.edge_keys)
    number = SCALE if score is ScaledDot else SLOPE
    torch.library.opcheck(
        getattr(torch.ops.fullgraph, name).default, (*BLOCK.csr(), *problem.inputs(), *state, number, *last)
    )


@pytest.mark.parametrize("score", SCORES)
def test_compilers_see_one_operator(score: type[Problem]) -> None:
    function, arguments = functional(score(BLOCK, 2, 3, torch.float64, bias=True, p=0.4))
    compiled = torch.compile(lambda *given: function(*given)[0].square().sum(), backend="aot_eager", fullgraph=True)
    leaves = arguments[6:10]
    got = torch.autograd.grad(compiled(*arguments), leaves)
    want = torch.autograd.grad(function(*arguments)[0].square().sum(), leaves)
    for left, right in zip(got, want, strict=True):
        torch.testing.assert_close(left, right)


@pytest.mark.parametrize("score", SCORES)
def test_an_op_that_adds_compiles_whole(score: type[Problem]) -> None:
    problem = score(BLOCK, 2, 3, torch.float64, bias=True, p=0.4)
    compiled = torch.compile(lambda: problem.forward(ops), backend="aot_eager", fullgraph=True)
    for got, want in zip(compiled(), problem.forward(ops), strict=True):
        torch.testing.assert_close(got, want)


def test_dropout_is_an_operator() -> None:
    x, row_ids = torch.randn(5, 4, dtype=torch.float64, requires_grad=True), torch.arange(5)
    torch.library.opcheck(registered.dropout, (x, 0.4, 9, row_ids))
    assert torch.autograd.gradcheck(lambda x: registered.dropout(x, 0.4, 9, row_ids), (x,))

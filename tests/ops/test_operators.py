"""Ops over blocks keep torch's rules for operators: what is added into is declared, and compilers keep them whole."""

from typing import Any

import pytest
import torch
from torch import Tensor

from fullgraph import ops
from tests.ops.attention_problems import SCALE, SCORES, SLOPE, Additive, Gatv2, Problem, ScaledDot
from tests.ops.blocks import block_of

BLOCK = block_of([3, 0, 7, 1], 6, 3, named=True)
FORWARD = {
    Additive: ("attention_forward_", SLOPE),
    Gatv2: ("attention_v2_forward_", SLOPE),
    ScaledDot: ("attention_dot_forward_", SCALE),
}


def cases() -> dict[str, tuple[Any, ...]]:
    """The arguments of each sum and extremum, by its operator's name."""
    values = BLOCK.values()
    x, weight = values(BLOCK.num_columns, 6), values(BLOCK.num_edges, 3)
    out = torch.zeros(BLOCK.num_rows, 6, dtype=torch.float64)
    count = torch.zeros(out.shape, dtype=torch.int32)
    return {
        "spmm_": (*BLOCK.csr(), x, out, weight, BLOCK.edge_ids, False),
        "sddmm_": (*BLOCK.csr(), out, x, torch.zeros_like(weight), BLOCK.edge_ids),
        "extremum_": (*BLOCK.csr(), x, out, count, False),
        "extremum_backward_": (*BLOCK.transposed().csr(), x, out, out, torch.zeros_like(x)),
    }


@pytest.mark.parametrize("name", cases())
def test_torchs_rules_hold_for_sums_and_extrema(name: str) -> None:
    torch.library.opcheck(getattr(torch.ops.fullgraph, name).default, cases()[name])


@pytest.mark.parametrize("score", SCORES)
def test_torchs_rules_hold_for_attention(score: type[Problem]) -> None:
    problem, (name, number) = score(BLOCK, 2, 3, torch.float64, bias=True, p=0.4), FORWARD[score]
    state = problem.forward(ops)
    assert problem.dropout is not None
    last = (problem.bias, BLOCK.edge_ids, problem.dropout.p, problem.dropout.key, problem.dropout.edge_keys)
    torch.library.opcheck(
        getattr(torch.ops.fullgraph, name).default, (*BLOCK.csr(), *problem.inputs(), *state, number, *last)
    )


@pytest.mark.parametrize("p", [0.0, 0.4])
@pytest.mark.parametrize("score", SCORES)
def test_attention_compiles_whole(score: type[Problem], p: float) -> None:
    problem = score(BLOCK, 2, 3, torch.float64, bias=True, p=p)
    passes = lambda: (*problem.forward(ops), *problem.backward(ops))  # noqa: E731
    compiled = torch.compile(passes, backend="aot_eager", fullgraph=True)
    for got, want in zip(compiled(), passes(), strict=True):
        torch.testing.assert_close(got, want)


def test_sums_and_extrema_compile_whole() -> None:
    block_t = BLOCK.transposed()
    values = BLOCK.values()
    x, weight = values(BLOCK.num_columns, 6), values(BLOCK.num_edges, 3)

    def passes(x: Tensor, weight: Tensor) -> tuple[Tensor, ...]:
        out = x.new_zeros(BLOCK.num_rows, 6)
        ops.spmm(*BLOCK.csr(), x, out, weight=weight, edge_ids=BLOCK.edge_ids)
        dots = torch.zeros_like(weight)
        ops.sddmm(*BLOCK.csr(), out, x, dots, edge_ids=BLOCK.edge_ids)
        value, count = torch.full_like(out, -torch.inf), torch.zeros(out.shape, dtype=torch.int32)
        ops.extremum(*BLOCK.csr(), x, value, count, largest=True)
        back = torch.zeros_like(x)
        ops.extremum_backward(*block_t.csr(), x, value, out, back)
        return out, dots, value, count, back

    compiled = torch.compile(passes, fullgraph=True, backend="aot_eager")
    for got, want in zip(compiled(x, weight), passes(x, weight), strict=True):
        assert torch.equal(got, want)

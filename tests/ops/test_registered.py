"""The registered operators satisfy torch's rules, have exact gradients, and survive torch.compile whole."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from fullgraph import ops
from fullgraph.ops import registered
from tests.ops.blocks import DrawnBlock, block_of

BLOCKS = {
    "ordinary": block_of([3, 0, 7, 1], 6, 3, named=True),
    "one node": block_of([2], 1, 4, named=True),
    "no edges": block_of([0, 0], 3, 5, named=True),
}


def both_ways(block: DrawnBlock) -> tuple[Tensor | None, ...]:
    block_t = block.transposed()
    return (*block.csr(), block.edge_ids, *block_t.csr(), block_t.edge_ids)


def sum_case(block: DrawnBlock, num_heads: int) -> tuple[tuple[Any, ...], Tensor, Tensor]:
    values = block.values()
    x = values(block.num_columns, 2 * num_heads).requires_grad_()
    return both_ways(block), x, values(block.num_edges, num_heads).requires_grad_()


@pytest.mark.parametrize("name", BLOCKS)
def test_gradients_are_exact_twice(name: str) -> None:
    arrays, x, weight = sum_case(BLOCKS[name], 3)
    assert torch.autograd.gradcheck(lambda x, w: registered.spmm(*arrays, x, w), (x, weight))
    assert torch.autograd.gradgradcheck(lambda x, w: registered.spmm(*arrays, x, w), (x, weight))


@pytest.mark.parametrize("largest", [True, False])
@pytest.mark.parametrize("name", BLOCKS)
def test_the_gradient_of_an_extremum_is_exact(name: str, largest: bool) -> None:
    block = BLOCKS[name]
    x = torch.randperm(block.num_columns * 3).view(-1, 3).double().requires_grad_()  # no ties between different rows
    arrays = (*block.csr(), *block.transposed().csr())
    assert torch.autograd.gradcheck(lambda x: registered.extremum(*arrays, x, largest)[0], (x,))


def cases() -> dict[str, tuple[Callable[..., Any], tuple[Any, ...]]]:
    block = BLOCKS["ordinary"]
    arrays, x, weight = sum_case(block, 3)
    plain, block_t = x.detach(), block.transposed()
    out = torch.zeros(block.num_rows, 6, dtype=torch.float64)
    count = torch.zeros(out.shape, dtype=torch.int32)
    return {
        "spmm": (registered.spmm, (*arrays, x, weight)),
        "spmm without weights": (registered.spmm, (*arrays, x, None)),
        "sddmm": (registered.sddmm, (*arrays, out.clone().requires_grad_(), x, block.num_edges, 3)),
        "extremum": (registered.extremum, (*block.csr(), *block_t.csr(), x, True)),
        "spmm_": (registered.spmm_, (*block.csr(), plain, out, weight.detach(), block.edge_ids, False)),
        "sddmm_": (registered.sddmm_, (*block.csr(), out, plain, torch.zeros_like(weight), block.edge_ids)),
        "extremum_": (registered.extremum_, (*block.csr(), plain, out, count, False)),
        "extremum_backward_": (
            registered.extremum_backward_,
            (*block_t.csr(), plain, out, out, torch.zeros_like(plain)),
        ),
    }


@pytest.mark.parametrize("name", cases())
def test_torch_accepts_the_operator(name: str) -> None:
    operator, arguments = cases()[name]
    torch.library.opcheck(operator, arguments)


def test_a_function_over_the_ops_compiles_whole_and_trains() -> None:
    block = BLOCKS["ordinary"]
    arrays, x, weight = sum_case(block, 3)
    extremum_arrays = (*block.csr(), *block.transposed().csr())

    def layer(x: Tensor, weight: Tensor) -> Tensor:
        largest, _ = registered.extremum(*extremum_arrays, x, True)
        return (registered.spmm(*arrays, x, weight) * largest).sum()

    compiled = torch.compile(layer, fullgraph=True, backend="aot_eager")
    want, got = layer(x, weight), compiled(x, weight)
    torch.testing.assert_close(got, want)
    torch.testing.assert_close(
        torch.autograd.grad(got, (x, weight)), torch.autograd.grad(want, (x, weight)), rtol=1e-12, atol=1e-12
    )


def test_the_ops_themselves_compile_whole() -> None:
    block, block_t = BLOCKS["ordinary"], BLOCKS["ordinary"].transposed()
    values = block.values()
    x, weight = values(block.num_columns, 6), values(block.num_edges, 3)

    def passes(x: Tensor, weight: Tensor) -> tuple[Tensor, ...]:
        out = x.new_zeros(block.num_rows, 6)
        ops.spmm(*block.csr(), x, out, weight=weight, edge_ids=block.edge_ids)
        dots = torch.zeros_like(weight)
        ops.sddmm(*block.csr(), out, x, dots, edge_ids=block.edge_ids)
        value, count = torch.full_like(out, -torch.inf), torch.zeros(out.shape, dtype=torch.int32)
        ops.extremum(*block.csr(), x, value, count, largest=True)
        back = torch.zeros_like(x)
        ops.extremum_backward(*block_t.csr(), x, value, out, back)
        return out, dots, value, count, back

    compiled = torch.compile(passes, fullgraph=True, backend="aot_eager")
    for got, want in zip(compiled(x, weight), passes(x, weight), strict=True):
        assert torch.equal(got, want)

"""Batch norm over ranks: accurate far from zero, exact with empty ranks, refused for a single row."""

import pytest
import torch

import fullgraph as fg
from fullgraph.comm import World
from fullgraph.engine import batch_norm
from fullgraph.errors import InputError
from tests.ranks import run_ranks


def normalised(world: World, x: torch.Tensor, owners: torch.Tensor):
    weight = torch.linspace(0.5, 2, x.size(1), dtype=x.dtype, requires_grad=True)
    bias = torch.linspace(-1, 1, x.size(1), dtype=x.dtype, requires_grad=True)
    own = x[owners == world.rank].clone().requires_grad_()
    out, affine, variance, num_rows = batch_norm(own, weight, bias, 1e-5, world)
    (out * out.detach().sin()).sum().backward()
    return (
        out.detach(),
        own.grad,
        world.all_reduce(weight.grad),
        world.all_reduce(bias.grad),
        affine.mean,
        variance,
        num_rows,
    )


@pytest.mark.parametrize("num_ranks", [1, 3])
def test_equals_torch_on_all_rows_with_a_rank_that_has_none(num_ranks):
    generator = torch.Generator().manual_seed(0)
    x = (
        torch.randn(40, 5, generator=generator, dtype=torch.float64) + 1e4
    )  # a variance from squares would lose 8 digits
    owners = torch.randint(0, min(num_ranks, 2), (40,), generator=generator)
    answers = run_ranks(num_ranks, normalised, x, owners)

    whole, norm = x.clone().requires_grad_(), torch.nn.BatchNorm1d(5, momentum=1.0).double()
    with torch.no_grad():
        norm.weight.copy_(torch.linspace(0.5, 2, 5))
        norm.bias.copy_(torch.linspace(-1, 1, 5))
    out = norm(whole)
    (out * out.detach().sin()).sum().backward()
    for rank, (got, grad, grad_weight, grad_bias, mean, variance, num_rows) in enumerate(answers):
        assert num_rows == 40
        torch.testing.assert_close(got, out[owners == rank].detach(), rtol=1e-8, atol=1e-8)
        torch.testing.assert_close(grad, whole.grad[owners == rank], rtol=1e-8, atol=1e-8)
        torch.testing.assert_close(grad_weight, norm.weight.grad, rtol=1e-8, atol=1e-8)
        torch.testing.assert_close(grad_bias, norm.bias.grad, rtol=1e-8, atol=1e-8)
        torch.testing.assert_close(mean, norm.running_mean)
        torch.testing.assert_close(variance * 40 / 39, norm.running_var, rtol=1e-8, atol=1e-8)


def test_gradcheck_on_one_rank():
    x = torch.randn(7, 3, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(3, dtype=torch.float64, requires_grad=True)
    bias = torch.randn(3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x, w, b: batch_norm(x, w, b, 1e-3, World())[0], (x, weight, bias))
    assert torch.autograd.gradcheck(lambda x: batch_norm(x, None, None, 1e-3, World())[0], x)


def test_a_single_row_is_refused():
    with pytest.raises(InputError, match=r"^batch norm in training needs at least 2 rows on all ranks together: 1$"):
        batch_norm(torch.ones(1, 3), None, None, 1e-5, fg.World())

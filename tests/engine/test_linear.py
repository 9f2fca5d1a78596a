"""The engine's linear layer: gradients of every argument, gradients of gradients, and where torch's own is used."""

import itertools

import pytest
import torch
import torch.nn.functional as F
from torch_geometric.data import Data
from torch_geometric.nn import SAGEConv

import fullgraph as fg
from fullgraph.engine import Recipes, linear
from fullgraph.ops import blas


def arguments(dtype: torch.dtype, needs: tuple[bool, bool, bool]) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    shapes = [(2050, 300), (70, 300), (70,)]  # more rows than are multiplied at a time
    tensors = [torch.randn(shape, generator=generator).to(dtype) for shape in shapes]
    return [t.requires_grad_(need) for t, need in zip(tensors, needs, strict=True)]


@pytest.mark.parametrize("needs", list(itertools.product([False, True], repeat=3))[1:])
def test_gradients_equal_float64(needs):
    given, wanted = arguments(torch.float32, needs), arguments(torch.float64, needs)
    out = linear(*given)
    assert type(out.grad_fn).__name__ == "_LinearBackward"
    out.sin().sum().backward()
    F.linear(*wanted).sin().sum().backward()
    torch.testing.assert_close(out.double(), F.linear(*wanted), rtol=1e-5, atol=1e-4)
    for got, want in zip(given, wanted, strict=True):
        assert (got.grad is None) == (want.grad is None)
        if got.grad is not None:
            torch.testing.assert_close(got.grad.double(), want.grad, rtol=1e-4, atol=2e-3)


def test_gradients_of_gradients_equal_float64():
    def penalty(dtype: torch.dtype, function) -> list[torch.Tensor]:
        x, matrix, bias = arguments(dtype, (True, True, True))
        (grad,) = torch.autograd.grad(function(x, matrix, bias).sin().mean(), x, create_graph=True)
        (1e3 * grad.square().sum()).backward()
        return [x.grad.double(), matrix.grad.double()]

    for got, want in zip(penalty(torch.float32, linear), penalty(torch.float64, F.linear), strict=True):
        torch.testing.assert_close(got, want, rtol=1e-3, atol=1e-4 * float(want.abs().max()))


def test_torch_takes_what_is_not_float32_rows():
    x, matrix, bias = arguments(torch.float64, (True, True, True))
    assert torch.autograd.gradcheck(lambda x, m: linear(x, m, bias[:2]), (x[:4, :3], matrix[:2, :3]))
    batches = torch.randn(2, 3, 4, requires_grad=True)
    assert torch.equal(linear(batches, torch.eye(4)), batches)
    with torch.autocast("cpu", torch.bfloat16):
        assert linear(x.float(), matrix.float()).dtype == torch.bfloat16


def test_linear_layers_of_a_prepared_model_use_it():
    opened = fg.open(Data(x=torch.randn(6, 8), edge_index=torch.tensor([[0, 1, 2, 3, 4], [1, 2, 3, 4, 5]])))

    class Model(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.head = SAGEConv(8, 8), torch.nn.Linear(8, 3)

        def forward(self, x, edge_index):
            return self.head(self.conv(x, edge_index))

    out = fg.prepare(Model(), opened)(opened.x, opened.edge_index)
    assert type(out.grad_fn).__name__ == "_LinearBackward"


@pytest.mark.parametrize("needs", [(True, True, True), (True, False, False), (False, True, True)])
@pytest.mark.parametrize("multiplies", blas.NAMES)
def test_rows_made_again_some_at_a_time_give_the_same_bits(needs, multiplies, monkeypatch):
    monkeypatch.setenv(blas.BLAS, multiplies)

    def run(recipes: Recipes | None) -> list[torch.Tensor | None]:
        start, matrix, bias = arguments(torch.float32, needs)
        factors = torch.arange(1.0, len(start) + 1).view(-1, 1) / len(start)
        x = start * factors
        if recipes is not None:  # a step that depends on where a row is
            recipes.note(x, start, lambda rows, places: rows * factors[places])
        out = linear(x, matrix, bias, recipes=recipes)
        held = out.grad_fn.saved_tensors[0]
        if matrix.requires_grad:
            assert (held.data_ptr() == start.data_ptr()) == (recipes is not None), "what stays is what rows are made of"
        out.sin().sum().backward()
        return [out.detach(), *(t.grad for t in (start, matrix, bias))]

    for got, want in zip(run(Recipes()), run(None), strict=True):
        assert (got is None) == (want is None)
        assert got is None or torch.equal(got, want)

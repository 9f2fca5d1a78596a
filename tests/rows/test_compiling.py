"""``torch.compile`` of a program that works on rows changes nothing but what has none."""

from typing import Any

import pytest
import torch
from torch import Tensor

from fullgraph.errors import UnsupportedOperation
from tests.ranks import run_ranks
from tests.rows.programs import Made, compare, leaf, random


class _Model(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = torch.nn.Linear(4, 3, dtype=torch.float64)
        self.norm = torch.nn.BatchNorm1d(3, dtype=torch.float64)
        with torch.no_grad():
            self.linear.weight.copy_(random(3, 4))
            self.linear.bias.copy_(random(3))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        h = self.norm(self.linear(x).relu())
        h = h + h.mean(0) * x.size(0)
        if h.shape[0] > 3:
            h = h * self.linear.weight.sum(1).tanh()
        return h, h[x[:, 0] > 0].sum()


class _Doubled(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x - x.mean(0)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        return grad - grad.mean(0)


def compiled(made: Made) -> Any:
    model = _Model()
    run, found = torch.compile(model, backend="eager"), []
    for step in range(2):
        x = leaf(made, seed=step)
        y, loss = run(x)
        loss.backward()
        found += [y, loss, x.grad]
    x = leaf(made)
    torch.compile(lambda x: _Doubled.apply(x * 2).tanh().sum(), backend="eager")(x).backward()
    return *found, x.grad, model.linear.weight.grad, model.norm.running_mean


def transforms(made: Made) -> Any:
    """Those of plain tensors are compiled as a whole still; of rows they are refused."""
    x = random(5, 3)
    square = torch.compile(lambda x: torch.vmap(lambda row: (row * row).sum())(x), backend="eager", fullgraph=True)(x)
    grad = torch.compile(lambda x: torch.func.grad(lambda x: (x * x).sum())(x), backend="eager", fullgraph=True)(x)
    if type(made(random(11, 3))) is not Tensor:
        with pytest.raises(UnsupportedOperation):
            torch.compile(lambda x: torch.vmap(lambda row: row * 2)(x), backend="eager")(made(random(11, 3)))
    return square, grad


@pytest.mark.parametrize("program", [compiled, transforms], ids=lambda p: p.__name__)
def test_is_what_one_process_has(program: Any) -> None:
    run_ranks(3, compare, program)

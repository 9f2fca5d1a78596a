"""Whatever leaves torch's functions is exact or refused by name: no number or array is of this rank's rows alone."""

import copy
import io
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from fullgraph.comm import World
from fullgraph.errors import UnsupportedOperation
from fullgraph.rows import distribute, is_rows
from tests.ranks import run_ranks
from tests.rows.programs import Made, N, compare, leaf, random
from tests.rows.spaces import node_space


@torch.jit.script
def scripted(x: Tensor) -> Tensor:
    return x * 2


class Scripted(torch.nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x * 2


def _saved(x: Tensor) -> Any:
    return torch.save({"x": x}, io.BytesIO())


_REFUSED: dict[str, Callable[[Tensor], Any]] = {
    "numpy": lambda x: x.detach().numpy(),
    "asarray": lambda x: np.asarray(x),
    "array of a list": lambda x: np.array([x, x]),
    "ufunc": lambda x: np.exp(x),
    "tolist": lambda x: x.tolist(),
    "iteration": lambda x: next(iter(x)),
    "unpacking": lambda x: (*x,),
    "list": lambda x: list(x),
    "pickle": lambda x: pickle.dumps(x),
    "save": _saved,
    "copy": lambda x: copy.copy(x),
    "from_dlpack": lambda x: torch.from_dlpack(x.detach()),
    "to_dlpack": lambda x: torch.utils.dlpack.to_dlpack(x.detach()),
    "numpy's from_dlpack": lambda x: np.from_dlpack(x.detach()),
    "resize_": lambda x: x.detach().resize_(3),
    "as_strided": lambda x: x.as_strided((2, 2), (1, 1)),
    "jit function": lambda x: scripted(x),
    "jit module": lambda x: torch.jit.script(Scripted())(x),
    "vmap": lambda x: torch.vmap(lambda row: row * 2)(x),
    "vmap of columns": lambda x: torch.vmap(lambda column: column * 2, in_dims=1)(x),
    "vmap that meets rows": lambda x: torch.vmap(lambda scale: x * scale)(torch.ones(2, 4)),
    "func.grad": lambda x: torch.func.grad(lambda x: x.sum())(x.detach()),
    "jacrev": lambda x: torch.func.jacrev(lambda x: x.sum(0))(x.detach()),
    "jvp": lambda x: torch.func.jvp(lambda x: x * 2, (x.detach(),), (x.detach(),)),
    "gradient edge": lambda x: torch.autograd.graph.get_gradient_edge(x),
    "nested": lambda x: torch.nested.nested_tensor([x, x]),
    "all_reduce": lambda x: torch.distributed.all_reduce(x.detach()),
    "all_gather": lambda x: torch.distributed.all_gather([torch.empty(N, 4)], x),
    "an operator of another library": lambda x: torch.ops.rows_test.sum(x),
}
_TORCHS_OWN: dict[str, tuple[type[Exception], Callable[[Tensor], Any]]] = {
    "item": (RuntimeError, lambda x: x.item()),
    "bool": (RuntimeError, lambda x: bool(x > 0)),
    "if": (RuntimeError, lambda x: 1 if x else 2),
    "float": (Exception, lambda x: float(x)),
    "int": (Exception, lambda x: int(x)),
    "index": (TypeError, lambda x: [1, 2][x]),
    "contains": (RuntimeError, lambda x: "a" in x),
    "cuda's array": (AttributeError, lambda x: x.__cuda_array_interface__),
}


def _is_refused(world: World) -> list[str]:
    library = torch.library.Library("rows_test", "DEF")
    library.define("sum(Tensor x) -> Tensor")
    library.impl("sum", lambda x: x.sum(), "CPU")
    x, let_pass = distribute(random(N, 4), node_space(world, N)).requires_grad_(), []
    for name, call in _REFUSED.items():
        try:
            let_pass.append(f"{name}: {call(x)}")
        except UnsupportedOperation as error:
            if "fullgraph.gather" not in str(error):
                let_pass.append(f"{name}: {error}")
    for name, (kind, call) in _TORCHS_OWN.items():
        for given in (x, random(N, 4)):
            try:
                let_pass.append(f"{name}: {call(given)}")
            except kind as error:
                if isinstance(error, UnsupportedOperation):
                    let_pass.append(f"{name}: {error}")
    return let_pass


@pytest.mark.parametrize("num_ranks", [1, 3])
def test_is_refused(num_ranks: int) -> None:
    for let_pass in run_ranks(num_ranks, _is_refused):
        assert not let_pass


def _numbers(world: World) -> None:
    one = node_space(world, 1, "one")
    for value in (2.5, -3, True, 0.0, 1 + 2j, float("nan")):
        for shape in ((1,), (1, 1)):
            plain = torch.full(shape, value)
            x = distribute(plain, one)
            assert torch.tensor(x.item()).equal(torch.tensor(plain.item())) or value != value
            assert (bool(x), type(x.item())) == (bool(plain), type(plain.item()))
            if not plain.is_complex() and value == value:
                assert (float(x), int(x)) == (float(plain), int(plain))
    assert [10, 20][distribute(torch.ones(1, dtype=torch.int64), one)] == 20
    assert complex(distribute(torch.full((1,), 2.0), one)) == 2
    assert distribute(torch.full((1,), 1.5, dtype=torch.bfloat16), one).item() == 1.5
    assert distribute(torch.ones(1), one).requires_grad_().item() == 1
    x = distribute(torch.arange(N), node_space(world, N))
    assert [n in x for n in (3, N, torch.tensor(4))] == [True, False, True]
    equal = [torch.equal(x, other) for other in (x, x.clone(), torch.arange(N), torch.arange(N - 1), x.flip(0))]
    assert equal == [True, True, True, False, False]
    assert not torch.equal(torch.arange(1, N + 1), x)
    with pytest.raises(RuntimeError):
        torch.empty(0).item()
    assert "share_memory_" in dir(x)
    assert is_rows(x.share_memory_())
    for shown in (repr(x), f"{x}", str([x])):
        assert "rows of this rank" in shown


@pytest.mark.parametrize("num_ranks", [1, 3])
def test_numbers(num_ranks: int) -> None:
    run_ranks(num_ranks, _numbers)


def loader(made: Made) -> Any:
    """Batches by position, which every rank gets."""
    data = torch.utils.data.TensorDataset(made(random(N, 4)), made(torch.arange(N)))
    torch.manual_seed(1)
    return *next(iter(torch.utils.data.DataLoader(data, batch_size=3))), *data[4]


def metrics(made: Made) -> Any:
    """As libraries of metrics count: states that every rank has, added to in place."""
    scores, labels = leaf(made), made(torch.arange(N) % 4)
    confusion, hits, total = torch.zeros(4, 4, dtype=torch.int64), torch.tensor(0.0), torch.tensor(0)
    for _ in range(2):
        found = scores.argmax(-1)
        confusion += torch.bincount(labels * 4 + found, minlength=16).reshape(4, 4)
        hits += (found == labels).sum()
        total += labels.numel()
    mean = scores.detach().mean(0)
    spread = ((scores.detach() - mean) ** 2).sum(0) / (len(scores) - 1)
    return confusion, hits / total, confusion.diag() / confusion.sum(1).clamp(min=1), spread.sqrt(), scores.softmax(-1)


def functional_call(made: Made) -> Any:
    layer, x = torch.nn.Linear(4, 3, dtype=torch.float64), leaf(made)
    weights = {"weight": random(3, 4).requires_grad_(), "bias": random(3, seed=1).requires_grad_()}
    y = torch.func.functional_call(layer, weights, (x,))
    y.square().sum().backward()
    return y, x.grad, weights["weight"].grad, weights["bias"].grad


@pytest.mark.parametrize("num_ranks", [1, 3])
@pytest.mark.parametrize("program", [loader, metrics, functional_call], ids=lambda p: p.__name__)
def test_is_what_one_process_has(num_ranks: int, program: Callable[[Made], Any]) -> None:
    run_ranks(num_ranks, compare, program)

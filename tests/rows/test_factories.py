"""Tensors of a size that counts rows are rows; what would read memory is refused; all else passes as it is."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import _get_current_function_mode_stack
from torch.utils.checkpoint import checkpoint

from fullgraph.comm import World
from fullgraph.errors import UnsupportedOperation
from fullgraph.rows import Here, distribute, gather, is_rows
from fullgraph.rows.factories import GlobalView, enter_global_view
from fullgraph.rows.routes import ways_of
from tests.global_view import global_view_off
from tests.ranks import run_ranks
from tests.rows.spaces import node_space

# Each is rows of n, and as torch makes it of a plain number.
OF_VALUES = """
torch.zeros(n) | torch.zeros(n, 3) | torch.zeros((n, 3), dtype=torch.int32) | torch.ones([2, n])
torch.ones(size=(n, 2)) | torch.full((n,), 2.5) | torch.full((n, 2), fill_value=7)
torch.full(size=(n,), fill_value=True) | torch.empty(n, 0) | torch.zeros(x.shape)
torch.zeros(x.size(), requires_grad=True) | torch.zeros(*x.shape) | torch.zeros(x.shape[:1] + (2,)) | x.new_zeros(n)
x.new_zeros((n, 2)) | x.new_ones(2, n, dtype=torch.float32) | x.new_full((n,), 3) | x.new_zeros(size=(n,))
x.new_full((n, 1), fill_value=3.0) | x.new_empty(n, 0) | w.new_zeros(n, 2) | w.new_ones(size=(n,))
w.new_full((n,), 2) | torch.arange(n) | torch.arange(0, n) | torch.arange(end=n)
torch.arange(n, dtype=torch.float32) | torch.arange(0, n, 1)
torch.arange(n, dtype=torch.float64, requires_grad=True) | torch.arange(0, end=n) | torch.zeros_like(x)
torch.as_tensor(x) | torch.as_tensor(x, dtype=torch.float32)
"""
# Each is every rank's, and as torch makes it of a plain number.
EVERYWHERE = """
torch.zeros(3) | x.new_zeros(3, 2) | x.new_ones((2,)) | x.new_full((2,), 1.0) | x.new_tensor([1.0, 2.0])
torch.arange(5) | torch.arange(1, n) | torch.arange(0.0, n) | torch.rand(n, generator=torch.Generator())
torch.arange(0, n, 2) | torch.zeros(n + 1) | torch.zeros(int(n), 2) | torch.linspace(0, 1, n) | torch.eye(3)
torch.tensor([1, 2]) | torch.as_tensor([1.0]) | torch.randperm(n).sort().values | torch.full((2, 2), 1)
torch.tensor(w)
"""
REFUSED = {
    "torch.zeros(n, n)": "zeros would have a row for each pair",
    "x.new_zeros((n, 2, n))": "new_zeros would have a row for each pair",
    "torch.eye(n)": "eye would have a row for each pair",
    "torch.zeros(n, out=torch.empty(11))": "zeros does not write rows",
    "torch.tensor(x)": "tensor would read this rank's rows",
    "torch.tensor([x[0, 0], x[:, 0]])": "tensor would read this rank's rows",
    "torch.as_tensor([x])": "as_tensor would read this rank's rows",
    "torch.asarray(x)": "asarray would read this rank's rows",
    "w.new_tensor(x)": "new_tensor would read this rank's rows",
    "torch.sparse_coo_tensor(torch.zeros(1, 11).long(), x)": "sparse_coo_tensor would read this rank's rows",
    "torch.sparse_csr_tensor(torch.tensor([0, 1]), torch.tensor([0]), x[:1, 0])": "sparse_csr_tensor would read",
}


def _split(texts: str) -> list[str]:
    return [text.strip() for text in texts.replace("\n", "|").split("|") if text.strip()]


def _given() -> dict[str, Any]:
    x = torch.randn(11, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    return {"x": x, "n": 11, "w": torch.ones(2), "torch": torch, "F": F}


def _rows(world: World) -> dict[str, Any]:
    x = distribute(_given()["x"], node_space(world, 11))
    return {**_given(), "x": x, "n": x.size(0)}


def _in_view(world: World, function: Callable[..., Any], *args: Any) -> Any:
    """With the mode on for as long as this takes: the rank serves other tests afterwards."""
    with GlobalView():
        return function(world, *args)


def _check_values(world: World) -> None:
    given = _rows(world)
    space = given["x"]._space
    for text in _split(OF_VALUES):
        mine, right = eval(text, given), eval(text, _given())
        assert is_rows(mine), text
        assert mine._space == space, text
        assert tuple(map(int, mine.shape)) == tuple(right.shape), text
        assert right.shape[mine._dim] == 11, text
        assert (mine.dtype, mine.requires_grad) == (right.dtype, right.requires_grad), text
        assert torch.equal(gather(mine.detach()), right), text
    for text in _split(EVERYWHERE):
        mine, right = eval(text, given), eval(text, _given())
        assert not is_rows(mine), text
        assert torch.equal(mine, right), text
        assert mine.dtype == right.dtype, text


@pytest.mark.parametrize("num_ranks", [1, 3])
def test_sizes_that_count_rows(num_ranks: int) -> None:
    run_ranks(num_ranks, _in_view, _check_values)


def _check_without_mode(world: World) -> None:
    """What has rows among its arguments needs no mode, as inside other functions, where none is on."""
    given = _rows(world)
    assert is_rows(given["x"].new_zeros(given["n"], 2))
    assert not is_rows(given["x"].new_zeros(2, 3))
    with global_view_off():  # another test of these ranks may have turned it on for good
        assert not is_rows(torch.zeros(given["n"]))


def test_without_mode() -> None:
    run_ranks(3, _check_without_mode)


def _errors(world: World) -> list[str]:
    found, given = [], _rows(world)
    for text in REFUSED:
        try:
            found.append(f"{text}: {eval(text, given)}")
        except UnsupportedOperation as error:
            found.append(str(error))
    return found


@pytest.mark.parametrize("num_ranks", [1, 3])
def test_refused(num_ranks: int) -> None:
    for errors in run_ranks(num_ranks, _in_view, _errors):
        for error, start in zip(errors, REFUSED.values(), strict=True):
            assert error.startswith(start)


DRAWS = """
torch.rand(n) | torch.rand((n, 3), dtype=torch.float64) | torch.randn(2, n) | torch.randn(size=(n,))
torch.rand(*x.shape) | torch.randint(5, (n, 2)) | torch.randint(-3, 4, (n,)) | torch.randint(low=2, high=9, size=(n,))
torch.randint(9, size=[n])
"""


def _draw(world: World) -> list[Tensor]:
    torch.manual_seed(5)
    given = _rows(world)
    out = [eval(text, given) for text in _split(DRAWS)]
    assert all(map(is_rows, out))
    for text, mine in zip(_split(DRAWS), out, strict=True):
        right = eval(text, _given())
        assert (mine.shape, mine.dtype) == (right.shape, right.dtype)
    return [*map(gather, out), torch.rand(3)]


def test_draws() -> None:
    alone, *others = run_ranks(1, _in_view, _draw) + run_ranks(3, _in_view, _draw)
    for other in others:
        for mine, right in zip(other, alone, strict=True):
            assert torch.equal(mine, right)
    assert all(float(x.min()) >= 0 and float(x.max()) < 1 for x in (alone[0], alone[1], alone[4]))
    assert (alone[5].min() >= 0, alone[6].min() >= -3, alone[7].min() >= 2) == (True, True, True)


def _check_ways(world: World) -> None:
    x = _rows(world)["x"].requires_grad_()
    ids = torch.arange(x.size(0))
    assert isinstance(ways_of(ids)[x._space][1], Here)
    before = world.traffic.reduced_bytes
    same = x[ids]
    assert world.traffic.reduced_bytes == before
    assert torch.equal(gather(same), gather(x))
    with torch.inference_mode():
        assert is_rows(torch.zeros(x.size(0)))
        assert torch.equal(gather(x[torch.arange(x.size(0))]), gather(x))
        assert is_rows(torch.rand(x.size(0), 2))


@pytest.mark.parametrize("num_ranks", [1, 3])
def test_ids_know_their_way(num_ranks: int) -> None:
    run_ranks(num_ranks, _in_view, _check_ways)


def _noisy(x: Tensor, noise: list[Tensor]) -> Tensor:
    noise.append(torch.rand(x.size(0), 3))
    return (x * noise[-1]).tanh() * torch.zeros(x.size(0), 1).add(2)


def _check_backward(world: World) -> None:
    """Hooks and checkpoints run in the global view, whoever starts backward."""
    for is_reentrant in (False, True):
        x, noise, seen = _rows(world)["x"].requires_grad_(), [], []
        x.register_hook(lambda grad, seen=seen: seen.append(torch.zeros(grad.size(0))))
        torch.manual_seed(2)
        checkpoint(_noisy, x, noise, use_reentrant=is_reentrant).sum().backward()
        assert torch.equal(gather(noise[0]), gather(noise[1]))
        assert is_rows(noise[1])
        assert is_rows(seen[0])
        given = x.grad
        assert given is not None
        (right,) = torch.autograd.grad((2 * (x * noise[0]).tanh()).sum(), x)
        torch.testing.assert_close(gather(right), gather(given))
    y = torch.ones(3, requires_grad=True)
    (grad,) = torch.autograd.grad((y * y).sum(), y)
    torch.autograd.backward([(y * y).sum()])
    assert torch.equal(grad, y.grad)  # pyright: ignore[reportArgumentType]
    torch.autograd.grad((y * y), y, torch.eye(3), is_grads_batched=True)


@pytest.mark.parametrize("num_ranks", [1, 3])
def test_backward(num_ranks: int) -> None:
    run_ranks(num_ranks, _in_view, _check_backward)


def test_entered_once_and_leaves_others_alone() -> None:
    with global_view_off():
        entered_once()


def entered_once() -> None:
    before = len(_get_current_function_mode_stack())
    enter_global_view()
    try:
        enter_global_view()
        assert len(_get_current_function_mode_stack()) == before + 1
        ones = torch.ones(2, 3)
        settings = {"weight": 3 * ones, "reduction": "sum"}
        assert float(F.l1_loss(ones, 0 * ones, **settings)) == 18  # whose weight torch itself does not hand over
        assert F.l1_loss(ones, 0 * ones) == 1
        with torch.device("meta"):
            assert torch.zeros(3).device.type == "meta"
    finally:
        _get_current_function_mode_stack()[-1].__exit__(None, None, None)
    assert len(_get_current_function_mode_stack()) == before

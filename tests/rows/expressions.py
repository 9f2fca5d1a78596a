"""Expressions of rows, compared with the same expressions of plain tensors: values, dtypes and gradients, twice."""

import warnings
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from fullgraph.comm import World
from fullgraph.rows import Space, distribute, gather, is_rows
from tests.rows.spaces import node_space

TORCH: dict[str, Any] = {"torch": torch, "F": F, "inf": float("inf"), "nan": float("nan")}


def texts_in(block: str) -> list[str]:
    """The expressions that a block lists, between bars and lines' ends."""
    return [text.strip() for text in block.replace("\n", "|").split("|") if text.strip()]


def check_expressions(
    world: World,
    everywhere: dict[str, Tensor],
    spread: dict[str, Tensor],
    texts: list[str],
    differentiable: bool = True,
) -> None:
    """Evaluate every text in the global view and in plain torch.

    Args:
        world: the ranks.
        everywhere: plain tensors by name.
        spread: tensors that become rows by name; ``x_t``, whose name ends in ``_t``, along its second dimension.
        texts: expressions of these names, of ``torch``, ``F``, ``inf`` and ``nan``.
        differentiable: whether torch knows the expressions' derivatives.
    """
    spaces: dict[int, Space] = {}
    for text in texts:
        plain = _leaves({**everywhere, **spread}, differentiable)
        leaves = _leaves({**everywhere, **spread}, differentiable)
        rows: dict[str, Tensor] = dict(leaves)
        for name in spread:
            dim = int(name.endswith("_t"))
            num_rows = leaves[name].shape[dim]
            space = spaces.setdefault(num_rows, node_space(world, num_rows))
            rows[name] = distribute(leaves[name], space, dim)
        try:
            _check(text, plain, leaves, rows)
        except Exception as error:
            raise AssertionError(f"{text} on {world.num_ranks} ranks") from error


def errors_of(world: World, spread: dict[str, Tensor], texts: list[str]) -> list[tuple[str, str]]:
    """The kind and the text of the error that each expression raises, as `check_expressions` reads them."""
    found = []
    for text in texts:
        rows = {name: distribute(x, node_space(world, x.shape[0])) for name, x in spread.items()}
        try:
            eval(text, {**TORCH, **rows})
        except Exception as error:
            found.append((type(error).__name__, str(error)))
        else:
            found.append(("", ""))
    return found


def _leaves(tensors: dict[str, Tensor], differentiable: bool) -> dict[str, Tensor]:
    real = (torch.float64, torch.complex128) if differentiable else ()
    return {name: x.clone().requires_grad_(x.dtype in real) for name, x in tensors.items()}


def _check(text: str, plain: dict[str, Tensor], leaves: dict[str, Tensor], rows: dict[str, Tensor]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = _flat(eval(text, {**TORCH, **plain}))
        given = _flat(eval(text, {**TORCH, **rows}))
    assert len(given) == len(expected)
    for mine, right in zip(given, expected, strict=True):
        if not isinstance(right, Tensor):
            assert (type(mine), mine) == (type(right), right)
            continue
        shape = tuple(int(n) for n in mine.shape)
        assert shape == tuple(right.shape), (shape, right.shape)
        assert mine.dtype == right.dtype, (mine.dtype, right.dtype)
    everything = [gather(x) if is_rows(x) else x for x in given]
    for mine, right in zip(everything, expected, strict=True):
        if isinstance(right, Tensor):
            _close(mine, right, "values", _tolerance(right.dtype))
    _check_gradients(everything, expected, leaves, plain)


def _check_gradients(
    given: list[Any], expected: list[Any], leaves: dict[str, Tensor], plain: dict[str, Tensor]
) -> None:
    names = [name for name, x in plain.items() if x.requires_grad]
    asked = [[side[name] for name in names] for side in (leaves, plain)]
    if not any(isinstance(x, Tensor) and x.requires_grad for x in expected):
        return
    tolerance = max(_tolerance(x.dtype) for x in expected if isinstance(x, Tensor))
    first = [_gradients(out, inputs, 1) for out, inputs in zip((given, expected), asked, strict=True)]
    for mine, right in zip(*first, strict=True):
        _close(mine, right, "gradients", tolerance)
    if not any(g.requires_grad for g in first[1]):
        return
    second = [_gradients(grads, inputs, 2) for grads, inputs in zip(first, asked, strict=True)]
    for mine, right in zip(*second, strict=True):  # torch's are NaN at 0, of some norms
        _close(torch.where(right.isnan(), right, mine), right, "second derivatives", tolerance)


def _gradients(outputs: list[Any], inputs: list[Tensor], seed: int) -> list[Tensor]:
    """Of a fixed random sum of all real entries."""
    generator = torch.Generator().manual_seed(seed)
    total = torch.zeros((), dtype=torch.float64)
    for out in outputs:
        if isinstance(out, Tensor) and out.requires_grad:
            real = torch.view_as_real(out) if out.is_complex() else out
            total = total + (real * torch.rand(real.shape, dtype=torch.float64, generator=generator)).sum()
    if not total.requires_grad:
        return [torch.zeros_like(x) for x in inputs]
    grads = torch.autograd.grad(total, inputs, create_graph=True, allow_unused=True)
    return [torch.zeros_like(x) if grad is None else grad for x, grad in zip(inputs, grads, strict=True)]


def _tolerance(dtype: torch.dtype) -> float:
    return {torch.float16: 1e-3, torch.bfloat16: 1e-2, torch.float32: 1e-5}.get(dtype, 1e-12)


def _close(mine: Tensor, right: Tensor, what: str, tolerance: float) -> None:
    torch.testing.assert_close(
        mine, right, rtol=tolerance, atol=tolerance, equal_nan=True, msg=lambda text: f"{what}: {text}"
    )


def _flat(value: Any) -> list[Any]:
    if isinstance(value, list | tuple):
        return [leaf for each in value for leaf in _flat(each)]
    return [value]

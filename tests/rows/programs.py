"""Programs that are run with whole tensors and with `Rows` of them: the results must be the same."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from fullgraph.comm import World
from fullgraph.rows import distribute, gather
from tests.rows.spaces import node_space

Made = Callable[[Tensor], Tensor]
"""Makes rows of a tensor, or leaves it as it is."""

N = 11


def random(*shape: int, seed: int = 0) -> Tensor:
    """float64, always the same."""
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def leaf(made: Made, *shape: int, seed: int = 0) -> Tensor:
    """``[N, 4]``, or of another shape, with a gradient."""
    return made(random(*(shape or (N, 4)), seed=seed)).requires_grad_()


def weight(seed: int = 5, *shape: int) -> Tensor:
    """``[4, 3]``, or of another shape, on every rank and with a gradient."""
    return random(*(shape or (4, 3)), seed=seed).requires_grad_()


def compare(world: World, program: Callable[[Made], Any], rtol: float = 1e-11) -> None:
    """The tensors that ``program`` returns are those of one process."""
    space = node_space(world, N)
    expected, found = program(lambda x: x), program(lambda x: distribute(x, space))
    assert len(expected) == len(found)
    for place, (plain, other) in enumerate(zip(expected, found, strict=True)):
        assert (other.shape, other.dtype) == (plain.shape, plain.dtype), place
        torch.testing.assert_close(
            gather(other), plain, rtol=rtol, atol=0.1 * rtol, equal_nan=True, msg=lambda m, at=place: f"{at}: {m}"
        )

"""A sum over ranks that is part of a model: every rank goes on with it, so its gradients are summed over ranks too."""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from fullgraph.comm import World


def sum_over_ranks(x: Tensor, world: World) -> Tensor:
    """The sum of all ranks' ``x``, of the same shape everywhere; differentiable. Collective, in backward too."""
    return _Sum.apply(x, world)  # pyright: ignore[reportReturnType]


class _Sum(torch.autograd.Function):
    """Each rank's gradient of the sum is a share of it, and the sum of all shares is every rank's gradient of ``x``."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, world: World) -> Tensor:
        ctx.world = world
        return world.all_reduce(x.clone(memory_format=torch.contiguous_format))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        return ctx.world.all_reduce(grads[0].clone(memory_format=torch.contiguous_format)), None

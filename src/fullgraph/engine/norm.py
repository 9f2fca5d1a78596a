"""Batch normalisation over the rows of all ranks, exactly: mean first, then squared deviations from it.

torch's `SyncBatchNorm` refuses CPU tensors, and a variance from sums of squares loses digits. Statistics cost two sums
over ranks of F numbers in forward and one of 2 F in backward (Ioffe & Szegedy 2015, over all ranks' rows).
"""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from fullgraph.comm import World
from fullgraph.errors import InputError


def batch_norm(
    x: Tensor, weight: Tensor | None, bias: Tensor | None, eps: float, world: World
) -> tuple[Tensor, Tensor, Tensor, int]:
    """Normalise each column of ``x`` with the statistics of all ranks' rows. Collective.

    Args:
        x: float ``[n, F]``, this rank's rows; n may be 0.
        weight: ``[F]`` or None.
        bias: ``[F]`` or None.
        eps: added to the variance.
        world: the ranks.

    Returns:
        ``(out [n, F], mean [F], biased variance [F], rows of all ranks)``; only ``out`` is differentiable.

    Raises:
        InputError: if all ranks together have fewer than 2 rows.
    """
    # Sums and the number of rows travel together in float64, which holds any count exactly.
    sums = world.all_reduce(torch.cat([x.detach().sum(0).double(), x.new_tensor([len(x)], dtype=torch.float64)]))
    num_rows = int(sums[-1])
    if num_rows < 2:
        raise InputError(f"batch norm in training needs at least 2 rows on all ranks together: {num_rows}")
    mean = (sums[:-1] / num_rows).to(x.dtype)
    out, variance = _BatchNorm.apply(x, weight, bias, mean, eps, num_rows, world)  # pyright: ignore[reportGeneralTypeIssues]
    return out, mean, variance, num_rows


def normalised(
    x: Tensor, weight: Tensor | None, bias: Tensor | None, eps: float, mean: Tensor, variance: Tensor
) -> Tensor:
    """What `batch_norm` makes of ``x`` with these statistics, to the last bit."""
    return _scaled(x - mean, weight, bias, torch.rsqrt(variance + eps))


def _scaled(deviations: Tensor, weight: Tensor | None, bias: Tensor | None, inverse: Tensor) -> Tensor:
    """In place."""
    deviations *= inverse if weight is None else inverse * weight
    return deviations if bias is None else deviations.add_(bias)


class _BatchNorm(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        weight: Tensor | None,
        bias: Tensor | None,
        mean: Tensor,
        eps: float,
        num_rows: int,
        world: World,
    ) -> tuple[Tensor, Tensor]:
        out = x - mean
        variance = world.all_reduce(torch.linalg.vecdot(out, out, dim=0)) / num_rows
        inverse = torch.rsqrt(variance + eps)
        out = _scaled(out, weight, bias, inverse)
        ctx.num_rows, ctx.world = num_rows, world
        ctx.save_for_backward(x, weight, mean, inverse)
        ctx.mark_non_differentiable(variance)
        return out, variance

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        x, weight, mean, inverse = ctx.saved_tensors
        grad = grads[0]
        normalised = (x - mean).mul_(inverse)
        local = torch.stack([grad.sum(0), torch.linalg.vecdot(grad, normalised, dim=0)])
        # Parameters' gradients stay this rank's share: they are summed over ranks with all others, once per step.
        grad_bias, grad_weight = local.clone()
        mean_grad, mean_product = ctx.world.all_reduce(local) / ctx.num_rows
        grad_x = normalised.mul_(-mean_product).add_(grad).sub_(mean_grad)
        grad_x *= inverse if weight is None else inverse * weight
        grad_weight = grad_weight if ctx.needs_input_grad[1] else None
        grad_bias = grad_bias if ctx.needs_input_grad[2] else None
        return grad_x, grad_weight, grad_bias, None, None, None, None

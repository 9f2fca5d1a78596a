"""Batch normalisation over the rows of all ranks, exactly: mean first, then squared deviations from it.

torch's `SyncBatchNorm` refuses CPU tensors, and a variance from sums of squares loses digits. Statistics cost two sums
over ranks of F numbers in forward and one of 2 F in backward (Ioffe & Szegedy 2015, over all ranks' rows).
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from fullgraph import ops
from fullgraph.comm import World
from fullgraph.engine.backward.once import backward_once
from fullgraph.engine.backward.ownership import is_sole
from fullgraph.errors import InputError


@dataclass(frozen=True, kw_only=True)
class Affine:
    """What a norm does to rows once its statistics are known: ``(x - mean) * scale + shift``, column by column.

    Attributes:
        mean: ``[F]``.
        scale: ``[F]``.
        shift: ``[F]``.
    """

    mean: Tensor
    scale: Tensor
    shift: Tensor

    def __call__(self, x: Tensor, places: slice = slice(None)) -> Tensor:
        """``[n, F]`` to new ``[n, F]``, the same bits every time, wherever the rows are among others."""
        return ops.scaled_deviations(x.contiguous(), self.mean, self.scale, self.shift)

    def relu_backward(self, grad: Tensor, x: Tensor, *, out: Tensor | None = None) -> Tensor:
        """The gradient of a ReLU's argument ``self(x)`` from that of its result, without either; in ``out`` or new."""
        return ops.positive_gradient(grad.contiguous(), x.contiguous(), self.mean, self.scale, self.shift, out=out)


def batch_norm(
    x: Tensor, weight: Tensor | None, bias: Tensor | None, eps: float, world: World
) -> tuple[Tensor, Affine, Tensor, int]:
    """Normalise each column of ``x`` with the statistics of all ranks' rows. Collective.

    Args:
        x: float ``[n, F]``, this rank's rows; n may be 0. Statistics of rows of 16 bits are float32.
        weight: ``[F]`` or None.
        bias: ``[F]`` or None.
        eps: added to the variance.
        world: the ranks.

    Returns:
        ``(out [n, F], what was done, biased variance [F], rows of all ranks)``; only ``out`` is differentiable.

    Raises:
        InputError: if all ranks together have fewer than 2 rows.
    """
    rows = x.detach().contiguous()
    dtype = ops.accumulator(x.dtype)
    sums, num_rows = ops.column_sums(rows), len(x)
    if world.num_ranks > 1:  # the number travels with the sums in float64, which holds any count exactly
        total = world.all_reduce(torch.cat([sums, sums.new_tensor([num_rows])]))
        sums, num_rows = total[:-1], int(total[-1])
    if num_rows < 2:
        raise InputError(f"batch norm in training needs at least 2 rows on all ranks together: {num_rows}")
    mean = (sums / num_rows).to(dtype)
    variance = (world.all_reduce(ops.squared_deviations(rows, mean)) / num_rows).to(dtype)
    inverse = torch.rsqrt(variance + eps)
    affine = Affine(
        mean=mean,
        scale=inverse if weight is None else (inverse * weight.detach()).to(dtype),
        shift=torch.zeros_like(mean) if bias is None else bias.detach().to(dtype, copy=True),
    )
    out: Tensor = _BatchNorm.apply(x, weight, bias, affine, inverse, num_rows, world)  # pyright: ignore[reportAssignmentType]
    return out, affine, variance, num_rows


class _BatchNorm(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        weight: Tensor | None,
        bias: Tensor | None,
        affine: Affine,
        inverse: Tensor,
        num_rows: int,
        world: World,
    ) -> Tensor:
        ctx.affine, ctx.inverse, ctx.num_rows, ctx.world = affine, inverse, num_rows, world
        ctx.save_for_backward(x)
        return affine(x)

    @staticmethod
    @backward_once
    def backward(ctx: Any, *grads: Tensor) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        is_free = is_sole(grads)
        (x,), grad = ctx.saved_tensors, grads[0].contiguous()
        x, affine, inverse = x.contiguous(), ctx.affine, ctx.inverse.double()
        local = ops.gradient_sums(grad, x, affine.mean)
        local[1] *= inverse
        # Parameters' gradients stay this rank's share: they are summed over ranks with all others, once per step.
        grad_bias, grad_weight = local.to(affine.mean.dtype, copy=True)
        mean_grad, mean_product = ctx.world.all_reduce(local) / ctx.num_rows
        scale = affine.scale.double()
        of_deviation, shift = (t.to(affine.mean.dtype) for t in (-scale * inverse * mean_product, -scale * mean_grad))
        out = grad if is_free else None
        grad_x = ops.combined_gradient(grad, x, affine.mean, affine.scale, of_deviation, shift, out=out)
        grad_weight = grad_weight if ctx.needs_input_grad[1] else None
        grad_bias = grad_bias if ctx.needs_input_grad[2] else None
        return grad_x, grad_weight, grad_bias, None, None, None, None

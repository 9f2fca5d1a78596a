"""A linear layer around a sum over in-neighbours, applied before or after it: whichever sends fewer columns.

``sum of W x[j] = W sum of x[j]``, so the order is free. Before, rows of the layer's output travel forward and, as
gradients, backward; after, rows of its input. Where both are as wide, the input travels forward, since after a ReLU
half of it is zeros, which need not (`comm.wire`). Rows that never change are summed first and once
(`engine.constants`): then nothing travels from the second epoch on. Where they are much wider than the layer's output,
that is so within a budget only: their sum needs as much memory as they do.
"""

from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from fullgraph import ops
from fullgraph.engine.aggregate import Reduction, sum_neighbours, summed_back, walked_sum
from fullgraph.engine.constants import Standing
from fullgraph.engine.identity import could_be_constant
from fullgraph.engine.linear import Linear
from fullgraph.engine.plan import Plan
from fullgraph.engine.recompute import Recipes
from fullgraph.engine.streamed import StreamedRows


def linear_sum(
    x: Tensor,
    matrix: Tensor,
    plan: Plan,
    weight: Tensor | None = None,
    *,
    reduction: Reduction = "sum",
    recipes: Recipes | None = None,
) -> Tensor:
    """``F.linear`` of the sum (or mean) over in-neighbours, without a bias. Collective.

    Args:
        x: float ``[num_own, F]``, rows of this rank's sources.
        matrix: ``[G, F]``.
        plan: the edges.
        weight: ``[num_edges]`` of x's dtype, or None for 1.
        reduction: ``sum`` or ``mean``.
        recipes: if given, input rows that can be made again are not kept.

    Returns:
        ``[num_dst, G]``, a tensor of the caller's own, differentiable with respect to ``x``, ``matrix`` and ``weight``.
    """
    if isinstance(x, StreamedRows):  # their sum would be as wide as what shall not be held, so it waits for a matrix
        return F.linear(sum_neighbours(x, plan, weight, reduction=reduction), matrix)
    width_out, width_in = matrix.shape
    constants = plan.constants
    if could_be_constant(x, weight):
        # Projected rows have gradients, which travel too; these rows have none.
        is_narrow = width_in <= (2 if torch.is_grad_enabled() and matrix.requires_grad else 1) * width_out
        budget = plan.halo.config.held_mib * 2**20
        fits = is_narrow or plan.num_dst * width_in * x.element_size() <= budget
        standing = constants.standing(reduction, x, weight, known_here=fits)
        # New rows may never come again.
        if standing != Standing.NEW or is_narrow:
            compute = partial(walked_sum, x, plan, weight, reduction)
            return F.linear(constants.once(compute, reduction, x, weight, standing=standing), matrix)
    elif width_in < width_out:
        return F.linear(walked_sum(x, plan, weight, reduction), matrix)
    elif width_in == width_out and not (weight is not None and weight.requires_grad) and not _is_autocast(x):
        out = _sum_first(x, matrix, plan, weight, recipes)
        return out if reduction == "sum" else out.div_(plan.divisors(x.dtype))
    return walked_sum(F.linear(x, matrix), plan, weight, reduction)


def _sum_first(x: Tensor, matrix: Tensor, plan: Plan, weight: Tensor | None, recipes: Recipes | None) -> Tensor:
    """The matrix times the sum, with the backward of a sum of projected rows: that needs ``x``, and no sum is kept."""
    projected = _Projected.apply(x, matrix, None, recipes)
    if recipes is not None:
        recipes.spare(projected)  # pyright: ignore[reportArgumentType]
    return _SumOfProjected.apply(projected, x.detach(), matrix.detach(), weight, plan)  # pyright: ignore[reportReturnType]


class _Projected(Linear):
    """Stands for ``F.linear(x, matrix)`` in backward; nobody reads its numbers, so it has none."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, matrix: Tensor, bias: Tensor | None, recipes: Recipes | None) -> Tensor:
        ctx.recipes = recipes
        ctx.save_for_backward(x, matrix)
        return x.new_zeros(()).expand(len(x), len(matrix))


class _SumOfProjected(torch.autograd.Function):
    """Two steps of backward, not one, because after each of them autograd frees the gradient that it began with."""

    @staticmethod
    def forward(ctx: Any, projected: Tensor, x: Tensor, matrix: Tensor, weight: Tensor | None, plan: Plan) -> Tensor:
        ctx.weight, ctx.plan = weight, plan
        return ops.product(walked_sum(x, plan, weight, "sum"), matrix)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        return summed_back(grads[0], ctx.plan, ctx.weight), None, None, None, None


def _is_autocast(x: Tensor) -> bool:
    return torch.is_autocast_enabled(x.device.type)

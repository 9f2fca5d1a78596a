"""A linear layer around a sum over in-neighbours, applied before or after it: whichever sends fewer columns.

``sum of W x[j] = W sum of x[j]``, so the order is free. Before, rows of the layer's output travel forward and, as
gradients, backward; after, rows of its input. Rows that never change are summed first and once (`engine.constants`):
then nothing travels from the second epoch on. Where they are much wider than the layer's output, that is so within a
budget only: their sum needs as much memory as they do.
"""

from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from fullgraph.engine.aggregate import Reduction, sum_neighbours, walked_sum
from fullgraph.engine.constants import Standing
from fullgraph.engine.identity import could_be_constant
from fullgraph.engine.plan import Plan
from fullgraph.engine.streamed import StreamedRows


def linear_sum(
    x: Tensor, matrix: Tensor, plan: Plan, weight: Tensor | None = None, *, reduction: Reduction = "sum"
) -> Tensor:
    """``F.linear`` of the sum (or mean) over in-neighbours, without a bias. Collective.

    Args:
        x: float ``[num_own, F]``, rows of this rank's sources.
        matrix: ``[G, F]``.
        plan: the edges.
        weight: ``[num_edges]`` of x's dtype, or None for 1.
        reduction: ``sum`` or ``mean``.

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
    # Where both orders send as much, this one keeps less: the input, which the layer's other half keeps too.
    return walked_sum(F.linear(x, matrix), plan, weight, reduction)

"""A linear layer around a sum over in-neighbours, applied before or after it: whichever sends fewer columns.

``sum of W x[j] = W sum of x[j]``, so the order is free. Before, rows of the layer's output travel forward and, as
gradients, backward; after, rows of its input. Where both are as wide, the input travels forward, since after a ReLU
half of it is zeros, which need not (`comm.wire`). Rows that never change are summed first and once
(`engine.memo`): then nothing travels from the second epoch on. Where they are much wider than the layer's output,
that is so within a budget only: their sum needs as much memory as they do.

Often a layer adds a linear layer of the row itself, and a bias. All of it is one operation here, which takes some rows
at a time: what it makes of rows goes where the sum or its gradient was, and what it needs of its input is made again
when those rows have their turn.
"""

from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from fullgraph import ops
from fullgraph.engine.backward.once import backward_once
from fullgraph.engine.backward.ownership import is_sole
from fullgraph.engine.disk.rows import StreamedRows
from fullgraph.engine.memo import Standing, could_be_constant
from fullgraph.engine.neighbours.sum import Reduction, sum_neighbours, summed_back, walked_sum
from fullgraph.engine.nodewise.recompute import Recipes, Step, rows_at
from fullgraph.engine.walks.plan import Plan


def linear_sum(
    x: Tensor,
    matrix: Tensor,
    plan: Plan,
    weight: Tensor | None = None,
    *,
    reduction: Reduction = "sum",
    root: Tensor | None = None,
    bias: Tensor | None = None,
    recipes: Recipes | None = None,
) -> Tensor:
    """``F.linear`` of the sum (or mean) over in-neighbours, and of the row itself. Collective.

    Args:
        x: float ``[num_own, F]``, rows of this rank's sources.
        matrix: ``[G, F]``.
        plan: the edges.
        weight: ``[num_edges]``, or None for 1; widens the result as in torch.
        reduction: ``sum`` or ``mean``.
        root: ``[G, F]``, the matrix of ``F.linear(x, root)``, which is added where destinations are the sources; None
            for nothing.
        bias: ``[G]``, added too, or None.
        recipes: if given, input rows that can be made again are not kept.

    Returns:
        ``[num_dst, G]``, a tensor of the caller's own, differentiable with respect to all tensors.
    """
    is_wide = matrix.size(1) >= matrix.size(0)
    weighs = weight is not None and (weight.requires_grad or weight.dtype != x.dtype)
    streams = isinstance(x, StreamedRows)
    in_general = streams or could_be_constant(x, weight) or not is_wide or weighs
    if _is_autocast(x) and not in_general:
        dtype = torch.get_autocast_dtype(x.device.type)
        x, matrix, root, bias = (t if t is None else t.to(dtype) for t in (x, matrix, root, bias))  # pyright: ignore[reportAssignmentType, reportOptionalMemberAccess]
        with torch.autocast(x.device.type, enabled=False):
            return linear_sum(x, matrix, plan, weight, reduction=reduction, root=root, bias=bias, recipes=recipes)
    if in_general:
        out = _sum_and_matrix(x, matrix, plan, weight, reduction)
        out = out if weight is None else out.to(torch.promote_types(out.dtype, weight.dtype))
        # No operation needs what the sum was, so that is where the rest goes.
        if bias is not None:
            out += bias.to(out.dtype)  # or torch makes wide copies of both
        if root is not None:
            out += F.linear(_as_cast(x, plan), root)
        return out
    chain = None if recipes is None else recipes.chain(x)
    terms = _Terms(plan, weight, reduction, () if chain is None else chain.steps, recipes)
    source = x.detach() if chain is None else chain.source
    out = _LinearSum.apply(x, source, matrix, root, bias, terms)
    if chain is None and recipes is not None:
        recipes.spare(out)  # pyright: ignore[reportArgumentType]
    return out  # pyright: ignore[reportReturnType]


def _sum_and_matrix(x: Tensor, matrix: Tensor, plan: Plan, weight: Tensor | None, reduction: Reduction) -> Tensor:
    if isinstance(x, StreamedRows):  # their sum would be as wide as what shall not be held, so it waits for a matrix
        return F.linear(sum_neighbours(x, plan, weight, reduction=reduction), matrix)
    width_out, width_in = matrix.shape
    memo = plan.memo
    if could_be_constant(x, weight) and (weight is None or weight.dtype == x.dtype):
        # Projected rows have gradients, which travel too; these rows have none.
        is_narrow = width_in <= (2 if torch.is_grad_enabled() and matrix.requires_grad else 1) * width_out
        budget = plan.halo.config.held_mib * 2**20
        fits = is_narrow or plan.num_dst * width_in * x.element_size() <= budget
        name = reduction, _cast_dtype(x)
        standing = memo.standing(name, x, weight, known_here=fits)
        # New rows may never come again.
        if standing != Standing.NEW or is_narrow:
            compute = partial(_sum_as_cast, x, plan, weight, reduction)
            return F.linear(memo.once(compute, name, x, weight, standing=standing), matrix)
    elif width_in < width_out and (weight is None or weight.dtype == x.dtype):
        return F.linear(walked_sum(x, plan, weight, reduction), matrix)
    return walked_sum(F.linear(x, matrix), plan, weight, reduction)


@dataclass(frozen=True)
class _Terms:
    """What is summed, and how the rows that are come from what is kept of them."""

    plan: Plan
    weight: Tensor | None
    reduction: Reduction
    steps: tuple[Step, ...]
    recipes: Recipes | None


class _LinearSum(torch.autograd.Function):
    """Backward is that of a sum of projected rows, in either order: it needs the input, and no sum is kept."""

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        source: Tensor,
        matrix: Tensor,
        root: Tensor | None,
        bias: Tensor | None,
        terms: _Terms,
    ) -> Tensor:
        ctx.terms = terms
        ctx.save_for_backward(source, matrix, root)
        width_out, width_in = matrix.shape
        is_summed_first = width_in == width_out
        summed = x if is_summed_first else ops.product(x, matrix)
        out = walked_sum(summed, terms.plan, terms.weight, terms.reduction)
        for places in ops.some_at_a_time(out, max(matrix.shape)):
            rows = out[places]
            if is_summed_first:
                rows.copy_(ops.product(rows, matrix))
            if root is not None:
                rows += ops.product(x[places], root)
            if bias is not None:
                rows += bias
        return out

    @staticmethod
    @backward_once
    def backward(ctx: Any, *grads: Tensor) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        is_free = is_sole(grads)
        (source, matrix, root), terms = ctx.saved_tensors, ctx.terms
        _, _, for_matrix, for_root, for_bias, _ = ctx.needs_input_grad  # of x always, or this would not be asked
        if terms.recipes is not None:
            terms.recipes.release()
        grad, degree = grads[0], None if terms.reduction == "sum" else terms.plan.divisors(matrix.dtype)
        grad_bias = grad.sum(0) if for_bias else None
        grad_sum = grad if degree is None else grad.div_(degree) if is_free else grad / degree
        back = summed_back(grad_sum, terms.plan, terms.weight)
        grad_matrix = torch.zeros_like(matrix, dtype=ops.accumulator(matrix.dtype)) if for_matrix else None
        grad_root = torch.zeros_like(root, dtype=ops.accumulator(matrix.dtype)) if for_root else None
        grad_x = back if matrix.size(0) == matrix.size(1) else back.new_empty(len(back), matrix.size(1))
        for places in ops.some_at_a_time(back, max(matrix.shape)):
            rows = rows_at(source, terms.steps, places) if for_matrix or for_root else source[places]
            if grad_matrix is not None:
                grad_matrix += ops.outer_sum(back[places], rows)
            grad_rows = ops.product(back[places], matrix.T)
            if root is not None:
                own = grad[places] if degree is None or not is_free else grad[places] * degree[places]
                grad_rows += ops.product(own, root.T)
                if grad_root is not None:
                    grad_root += ops.outer_sum(own, rows)
            grad_x[places] = grad_rows
        return grad_x, None, grad_matrix, grad_root, grad_bias, None


def _is_autocast(x: Tensor) -> bool:
    return torch.is_autocast_enabled(x.device.type) and x.dtype != torch.float64  # which it leaves alone


def _cast_dtype(x: Tensor) -> torch.dtype:
    """What autocast makes of rows that meet a matrix; their own without."""
    return torch.get_autocast_dtype(x.device.type) if _is_autocast(x) else x.dtype


def _as_cast(x: Tensor, plan: Plan) -> Tensor:
    """``x`` as autocast gives it to a product, made once if it never changes, which is every epoch's else.

    Rows on disk are cast as they are read.
    """
    dtype = _cast_dtype(x)
    return (
        x
        if dtype == x.dtype or isinstance(x, StreamedRows)
        else plan.memo.latest(("cast", dtype), lambda: x.to(dtype), x)
    )


def _sum_as_cast(x: Tensor, plan: Plan, weight: Tensor | None, reduction: Reduction) -> Tensor:
    """The sum, as a product takes it, so that no wider one is remembered."""
    return walked_sum(x, plan, weight, reduction).to(_cast_dtype(x))

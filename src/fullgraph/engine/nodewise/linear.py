"""A linear layer's product as autograd follows it, forward and backward by `ops.product` and `ops.outer_sum`."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from fullgraph import ops
from fullgraph.engine.backward.once import backward_once
from fullgraph.engine.disk.rows import StreamedRows
from fullgraph.engine.nodewise.recompute import Recipes, Step, rows_at


def linear(x: Tensor, matrix: Tensor, bias: Tensor | None = None, *, recipes: Recipes | None = None) -> Tensor:
    """``F.linear``, by the faster of the products that torch has.

    Args:
        x: ``[…, F]``.
        matrix: ``[G, F]``.
        bias: ``[G]`` or None.
        recipes: if given, rows that can be made again are not kept, or are let go before the gradient of ``x`` is made.

    Returns:
        ``[…, G]``, differentiable with respect to all three.
    """
    taken = (
        not isinstance(x, StreamedRows)
        and ops.chooses_blas(x, matrix)
        and not torch.is_autocast_enabled(x.device.type)
        and not torch.compiler.is_compiling()
    )
    chain = recipes.chain(x) if recipes is not None and taken else None
    if chain is None:
        out: Tensor = _Linear.apply(x, matrix, bias, recipes) if taken else F.linear(x, matrix, bias)  # pyright: ignore[reportAssignmentType]
        if recipes is not None and not isinstance(x, StreamedRows):
            recipes.spare(out)
        return out
    return _LinearOfMade.apply(x, chain.source, matrix, bias, chain.steps, recipes)  # pyright: ignore[reportReturnType]


def is_differentiable_again(out: Tensor) -> bool:
    """Whether what `linear` gave has a second derivative: not if backward makes its input again."""
    return not isinstance(out.grad_fn, _LinearOfMade._backward_cls)  # pyright: ignore[reportAttributeAccessIssue]


class _Linear(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, matrix: Tensor, bias: Tensor | None, recipes: Recipes | None) -> Tensor:
        ctx.recipes = recipes
        ctx.save_for_backward(x if matrix.requires_grad else None, matrix if x.requires_grad else None)
        return ops.product(x, matrix, bias)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        (grad,), (x, matrix) = grads, ctx.saved_tensors
        for_x, for_matrix, for_bias, _ = ctx.needs_input_grad
        grad_bias = grad.sum(0) if for_bias else None
        if torch.is_grad_enabled():  # of a gradient too
            grad_x = grad @ matrix if for_x else None
            return grad_x, grad.T @ x if for_matrix else None, grad_bias, None
        grad_matrix = ops.outer_sum(grad, x) if for_matrix else None
        del x
        if ctx.recipes is not None:
            ctx.recipes.release()
        return ops.product(grad, matrix.T) if for_x else None, grad_matrix, grad_bias, None


class _LinearOfMade(torch.autograd.Function):
    """Of rows that are made again some at a time, for the gradient of the matrix."""

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        source: Tensor,
        matrix: Tensor,
        bias: Tensor | None,
        steps: tuple[Step, ...],
        recipes: Recipes,
    ) -> Tensor:
        ctx.steps, ctx.recipes = steps, recipes
        ctx.save_for_backward(source if matrix.requires_grad else None, matrix)
        return ops.product(x, matrix, bias)

    @staticmethod
    @backward_once
    def backward(ctx: Any, *grads: Tensor) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        (grad,), (source, matrix) = grads, ctx.saved_tensors
        for_x, _, for_matrix, for_bias, _, _ = ctx.needs_input_grad
        ctx.recipes.release()
        grad_matrix = None
        if for_matrix:
            grad_matrix = torch.zeros_like(matrix)
            for places in ops.some_at_a_time(grad, max(matrix.shape)):
                ops.add_outer_sum(grad_matrix, grad[places], rows_at(source, ctx.steps, places))
        grad_x = ops.product(grad, matrix.T) if for_x else None
        return grad_x, None, grad_matrix, grad.sum(0) if for_bias else None, None, None

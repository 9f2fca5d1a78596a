"""The two operations that carry a program's gradients over ranks, each the other's adjoint.

`sum_over_ranks`: where rows become a value that every rank has, the shares of all ranks are added; backward hands the
gradient to each rank as it is. `enter`: where such a value meets rows, nothing is done; backward adds up what the rows
of all ranks give back. With these two every gradient that anybody sees is the one of one process, to any order.
"""

from typing import Any

import torch
from torch import Tensor

from fullgraph.errors import UnsupportedOperation
from fullgraph.rows.view import View


def sum_over_ranks(x: Tensor, view: View) -> Tensor:
    """The sum of all ranks' ``x``, differentiable. Collective, in forward only."""
    view.check()
    if view.is_alone:
        return x
    _check_no_transform()
    return _Sum.apply(x, view)  # pyright: ignore[reportReturnType]


def enter(values: list[Tensor], view: View) -> list[Tensor]:
    """Aliases of what every rank has, for use beside rows. Backward is one collective for all of them."""
    if view.is_alone or not torch.is_grad_enabled():
        return values
    _check_no_transform()
    return list(_Enter.apply(view, *values))  # pyright: ignore[reportArgumentType]


def _check_no_transform() -> None:
    if torch._C._functorch.maybe_current_level() is not None:  # pyright: ignore[reportAttributeAccessIssue]
        raise UnsupportedOperation(
            "torch.func and torch.vmap do not reach over several ranks; write torch.autograd.grad, or what "
            "torch.autograd.functional has: see docs/your-model.md"
        )


class _Sum(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, view: View) -> Tensor:
        ctx.view = view
        return view.sum(x)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        return enter([grads[0]], ctx.view)[0] if grads[0].requires_grad else grads[0], None


class _Enter(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, view: View, *values: Tensor) -> tuple[Tensor, ...]:
        ctx.view = view
        ctx.set_materialize_grads(False)  # what no operation used has no gradient, as on one process
        return tuple(value.detach() for value in values)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor | None) -> Any:
        given = [grad for grad in grads if grad is not None]
        summed = iter(_summed(given, ctx.view))
        return None, *(None if grad is None else next(summed) for grad in grads)


def _summed(grads: list[Tensor], view: View) -> list[Tensor]:
    """Each summed over ranks, with one collective for each dtype."""
    results: list[Tensor | None] = [None] * len(grads)
    for dtype in dict.fromkeys(grad.dtype for grad in grads):
        places = [place for place, grad in enumerate(grads) if grad.dtype == dtype]
        flat = grads[places[0]].reshape(-1) if len(places) == 1 else torch.cat([grads[p].reshape(-1) for p in places])
        parts = sum_over_ranks(flat, view).split([grads[p].numel() for p in places])
        for place, part in zip(places, parts, strict=True):
            results[place] = part.view(grads[place].shape)
    return results  # pyright: ignore[reportReturnType]

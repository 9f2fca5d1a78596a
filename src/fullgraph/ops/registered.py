"""The sums and extrema as operators of torch: `torch.ops.fullgraph.*`, which `torch.compile` keeps whole.

Two kinds. `spmm_`, `sddmm_`, `extremum_` and `extremum_backward_` are the ops themselves: they add into what they are
given and have no gradient. `spmm`, `sddmm` and `extremum` return new tensors, and autograd follows them: they take a
block together with its transpose, because the gradient of a sum over a block is a sum over the other.

Eager calls of `fullgraph.ops.spmm` and the others go to the kernel directly, and only a compiler sees operators: the
dispatcher doubles what a call costs before the kernel begins (measured on a tiny block: 81 instead of 36 microseconds).
"""

from typing import Any

import torch
from torch import Tensor

from fullgraph.ops import extrema, sums


@torch.library.custom_op("fullgraph::spmm_", mutates_args=("out",))
def spmm_(
    indptr: Tensor,
    indices: Tensor,
    x: Tensor,
    out: Tensor,
    weight: Tensor | None,
    edge_ids: Tensor | None,
    overwrites: bool,
) -> None:
    sums.spmm(indptr, indices, x, out, weight=weight, edge_ids=edge_ids, overwrites=overwrites)


@torch.library.custom_op("fullgraph::sddmm_", mutates_args=("out",))
def sddmm_(indptr: Tensor, indices: Tensor, left: Tensor, right: Tensor, out: Tensor, edge_ids: Tensor | None) -> None:
    sums.sddmm(indptr, indices, left, right, out, edge_ids=edge_ids)


@torch.library.custom_op("fullgraph::extremum_", mutates_args=("value", "count"))
def extremum_(indptr: Tensor, indices: Tensor, x: Tensor, value: Tensor, count: Tensor, largest: bool) -> None:
    extrema.extremum(indptr, indices, x, value, count, largest=largest)


@torch.library.custom_op("fullgraph::extremum_backward_", mutates_args=("out",))
def extremum_backward_(indptr: Tensor, indices: Tensor, x: Tensor, value: Tensor, grad: Tensor, out: Tensor) -> None:
    extrema.extremum_backward(indptr, indices, x, value, grad, out)


@torch.library.custom_op("fullgraph::spmm", mutates_args=())
def spmm(
    indptr: Tensor,
    indices: Tensor,
    edge_ids: Tensor,
    indptr_t: Tensor,
    indices_t: Tensor,
    edge_ids_t: Tensor,
    x: Tensor,
    weight: Tensor | None,
) -> Tensor:
    """[n, F]: the weighted sums of x's rows over a block; the arrays named `_t` are its transpose."""
    out = x.new_empty(indptr.numel() - 1, x.size(1))
    sums.spmm(indptr, indices, x, out, weight=weight, edge_ids=edge_ids, overwrites=True)
    return out


@torch.library.custom_op("fullgraph::sddmm", mutates_args=())
def sddmm(
    indptr: Tensor,
    indices: Tensor,
    edge_ids: Tensor,
    indptr_t: Tensor,
    indices_t: Tensor,
    edge_ids_t: Tensor,
    left: Tensor,
    right: Tensor,
    num_edges: int,
    num_heads: int,
) -> Tensor:
    """[num_edges, num_heads]: the dots of left's and right's rows at each edge's ends; 0 for edges not in the block."""
    out = left.new_zeros(num_edges, num_heads)
    sums.sddmm(indptr, indices, left, right, out, edge_ids=edge_ids)
    return out


@torch.library.custom_op("fullgraph::extremum", mutates_args=())
def extremum(
    indptr: Tensor, indices: Tensor, indptr_t: Tensor, indices_t: Tensor, x: Tensor, largest: bool
) -> tuple[Tensor, Tensor]:
    """The largest or smallest of x's rows over a block, [n, F], and its count, int32 [n, F]; 0 for empty rows.

    Its gradient is split evenly among the entries that tie.
    """
    value = x.new_full((indptr.numel() - 1, x.size(1)), -torch.inf if largest else torch.inf)
    count = torch.zeros(value.shape, dtype=torch.int32, device=x.device)
    extrema.extremum(indptr, indices, x, value, count, largest=largest)
    return value.masked_fill_(count == 0, 0), count


@spmm_.register_fake
@sddmm_.register_fake
@extremum_.register_fake
@extremum_backward_.register_fake
def _(*arguments: Any) -> None:
    return None


@spmm.register_fake
def _(
    indptr: Tensor, indices: Any, ids: Any, indptr_t: Any, indices_t: Any, ids_t: Any, x: Tensor, weight: Any
) -> Tensor:
    return x.new_empty(indptr.numel() - 1, x.size(1))


@sddmm.register_fake
def _(
    indptr: Any,
    indices: Any,
    ids: Any,
    indptr_t: Any,
    indices_t: Any,
    ids_t: Any,
    left: Tensor,
    right: Any,
    num_edges: int,
    num_heads: int,
) -> Tensor:
    return left.new_empty(num_edges, num_heads)


@extremum.register_fake
def _(indptr: Tensor, indices: Any, indptr_t: Any, indices_t: Any, x: Tensor, largest: bool) -> tuple[Tensor, Tensor]:
    value = x.new_empty(indptr.numel() - 1, x.size(1))
    return value, torch.empty_like(value, dtype=torch.int32)


def _keep_spmm(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
    ctx.save_for_backward(*inputs)


def _spmm_backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    *block, x, weight = ctx.saved_tensors
    forward, backward = block[:3], block[3:]
    grad, grad_x, grad_weight = grad.contiguous(), None, None
    if ctx.needs_input_grad[6]:
        grad_x = spmm(*backward, *forward, grad, weight)
    if ctx.needs_input_grad[7]:
        num_heads = 1 if weight.dim() == 1 else weight.size(1)
        grad_weight = sddmm(*forward, *backward, grad, x, weight.size(0), num_heads).view_as(weight)
    return *[None] * 6, grad_x, grad_weight


def _keep_sddmm(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
    ctx.save_for_backward(*inputs[:8])


def _sddmm_backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    *block, left, right = ctx.saved_tensors
    forward, backward = block[:3], block[3:]
    grad, grad_left, grad_right = grad.contiguous(), None, None
    if ctx.needs_input_grad[6]:
        grad_left = spmm(*forward, *backward, right, grad)
    if ctx.needs_input_grad[7]:
        grad_right = spmm(*backward, *forward, left, grad)
    return *[None] * 6, grad_left, grad_right, None, None


def _keep_extremum(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
    value, count = output
    ctx.save_for_backward(inputs[2], inputs[3], inputs[4], value, count)
    ctx.mark_non_differentiable(count)


def _extremum_backward(ctx: Any, grad: Tensor, _: Any) -> tuple[Tensor | None, ...]:
    indptr_t, indices_t, x, value, count = ctx.saved_tensors
    grad_x = torch.zeros_like(x)
    extremum_backward_(indptr_t, indices_t, x, value, grad / count.clamp(min=1), grad_x)
    return None, None, None, None, grad_x, None


spmm.register_autograd(_spmm_backward, setup_context=_keep_spmm)
sddmm.register_autograd(_sddmm_backward, setup_context=_keep_sddmm)
extremum.register_autograd(_extremum_backward, setup_context=_keep_extremum)

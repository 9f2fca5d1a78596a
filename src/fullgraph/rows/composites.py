"""Norms, similarities, convolutions: functions that are more than one operation, over the rows of all ranks.

Where all they look at lies within a row, they run on local rows as they are; where it is rows, they are written in the
global view itself, batch norm in training excepted, which has kernels; or they are refused.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from fullgraph.engine import batch_norm as norm_by_kernel
from fullgraph.rows.once import only_once
from fullgraph.rows.table import composite, entered, refuse
from fullgraph.rows.tensor import dim_of, functions_off, is_rows, local, rows, space_of


@composite("batch_norm")
def _batch_norm(
    input: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    training: bool,
    momentum: float,
    eps: float,
    cudnn_enabled: bool = False,
) -> Tensor:
    """As of torch itself, which torch.nn.functional's calls after its checks."""
    _check_channels(input, {"running_mean": running_mean, "running_var": running_var, "weight": weight, "bias": bias})
    count = input.numel() // max(input.size(1), 1)
    if count == 0:
        return _scaled(input.clone(), weight, bias)
    if not training:
        return _normalized_by_running(input, running_mean, running_var, weight, bias, eps)
    if input.dim() == 2 and input.dtype in (torch.float32, torch.float64):
        out, mean, variance = _batch_norm_by_kernel(input, weight, bias, eps)
    else:
        out, mean, variance = _normalized(input, [d for d in range(input.dim()) if d != 1], eps)
        out = _scaled(out, weight, bias).to(input.dtype)
    _update(running_mean, running_var, mean, variance, count, momentum)
    return out


def _normalized_by_running(
    input: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None,
    bias: Tensor | None,
    eps: float,
) -> Tensor:
    """Each row for itself. Where gradients are asked for not by torch's own, whose graph is another without any row."""
    if running_mean is None or running_var is None:
        raise RuntimeError("Expected running_mean and running_var to be defined without statistics of the input")
    if not torch.is_grad_enabled():
        with functions_off():
            out = F.batch_norm(local(input), running_mean, running_var, weight, bias, False, 0.0, eps)
            return rows(out, space_of(input), dim_of(input))
    deviations = _scaled(_wide(input), None, -running_mean)
    return _scaled(_scaled(deviations, (running_var + eps).rsqrt(), None), weight, bias).to(input.dtype)


def _check_channels(input: Tensor, by_channel: dict[str, Tensor | None]) -> None:
    """Refuse rows anywhere but in the input, and there as channels.

    Raises:
        RuntimeError: if something has not an entry for each channel, or a statistic needs a gradient, as in torch.
    """
    if not is_rows(input) or dim_of(input) == 1 or any(map(is_rows, by_channel.values())):
        refuse("batch_norm", "takes rows only as its input, and not as channels")
    for what, value in by_channel.items():
        if value is not None and what.startswith("running") and value.requires_grad and torch.is_grad_enabled():
            raise RuntimeError(f"batch_norm is not differentiable with respect to {what}")
        if value is not None and value.numel() != input.size(1):
            raise RuntimeError(f"{what} should contain {input.size(1)} elements not {value.numel()}")


def _batch_norm_by_kernel(
    input: Tensor, weight: Tensor | None, bias: Tensor | None, eps: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Of local rows ``[n, C]``, with backward once only; also the mean and the biased variance of each column."""
    space = space_of(input)
    view = space.view
    view.check()
    with functions_off():
        (_, weight, bias), _ = entered((input, weight, bias), {})
        own = local(input)
        out, affine, variance, _ = norm_by_kernel(own, weight, bias, eps, view.world)
        only_once(out, "batch_norm")
        if view.recipes is not None:
            view.recipes.note(out, own, affine)
            view.recipes.spare(out)
        return rows(out, space), affine.mean, variance


def _normalized(input: Tensor, dims: list[int], eps: float) -> tuple[Tensor, Tensor, Tensor]:
    """Deviations from the mean over ``dims`` by the standard deviation; the mean; the biased variance.

    The mean comes first, since a variance from sums of squares loses digits.
    """
    x = _wide(input)
    mean = x.mean(dims, keepdim=True)
    deviations = x - mean
    variance = (deviations * deviations).mean(dims, keepdim=True)
    return deviations * (variance + eps).rsqrt(), mean, variance


def _wide(x: Tensor) -> Tensor:
    """As torch computes it: halves in float32."""
    return x.float() if x.dtype in (torch.float16, torch.bfloat16) else x


def _scaled(x: Tensor, weight: Tensor | None, bias: Tensor | None) -> Tensor:
    shape = [1, -1] + [1] * (x.dim() - 2)
    if weight is not None:
        x = x * weight.view(shape)
    return x if bias is None else x + bias.view(shape)


@torch.no_grad()
def _update(
    running_mean: Tensor | None,
    running_var: Tensor | None,
    mean: Tensor,
    variance: Tensor,
    count: int,
    momentum: float,
) -> None:
    """Move running statistics towards those of this step, which every rank has: the variance unbiased."""
    for running, value in ((running_mean, mean), (running_var, variance * (count / max(count - 1, 1)))):
        if running is not None:
            running.lerp_(value.detach().flatten().to(running.dtype), momentum)


@composite("cosine_similarity")
def _cosine_similarity(x1: Tensor, x2: Tensor, dim: int = 1, eps: float = 1e-8) -> Tensor:
    dtype = torch.promote_types(x1.dtype, x2.dtype)
    if not dtype.is_floating_point:
        raise RuntimeError(f"expected common dtype to be floating point, yet common dtype is {dtype}")
    x1, x2 = (x if x.is_floating_point() else x.to(dtype) for x in (x1, x2))
    if x1.shape != x2.shape:
        x1, x2 = x1 + torch.zeros_like(x2), x2 + torch.zeros_like(x1)
    return (_of_length_one(x1, dim, eps) * _of_length_one(x2, dim, eps)).sum(dim)


def _of_length_one(x: Tensor, dim: int, eps: float) -> Tensor:
    norm = torch.linalg.vector_norm(x, 2, dim, keepdim=True)
    return x / (norm + (norm.clamp_min(eps) - norm).detach())  # as torch, which lets gradients pass the clamp


@composite("pairwise_distance")
def _pairwise_distance(x1: Tensor, x2: Tensor, p: float = 2.0, eps: float = 1e-6, keepdim: bool = False) -> Tensor:
    return (x1 - x2 + eps).norm(p, -1, keepdim)

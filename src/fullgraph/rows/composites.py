"""Norm layers, similarities, convolutions: functions that are more than one operation, over the rows of all ranks.

Where all they look at lies within a row, they run on local rows as they are; where it is rows, they are written in the
global view itself, batch norm in training excepted, which has kernels; or they are refused.
"""

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from fullgraph.engine import batch_norm as norm_by_kernel
from fullgraph.rows.calls import refuse
from fullgraph.rows.gradients import only_once
from fullgraph.rows.reductions import wide
from fullgraph.rows.table import composite, entered, means_its_body
from fullgraph.rows.tensor import Rows, functions_off, is_rows, local, rows

_BY_KERNEL = (torch.float32, torch.float64, torch.bfloat16)


@composite("batch_norm")
def _batch_norm(
    input: Rows,
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
    if input.dim() == 2 and input.dtype in _BY_KERNEL:
        out, mean, variance = _batch_norm_by_kernel(input, weight, bias, eps)
    else:
        x, dims = wide(input), [d for d in range(input.dim()) if d != 1]
        variance, mean = torch.var_mean(x, dims, correction=0, keepdim=True)
        out = _scaled((x - mean) * (variance + eps).rsqrt(), weight, bias).to(input.dtype)
    _update(running_mean, running_var, mean, variance, count, momentum)
    return out


def _normalized_by_running(
    input: Rows,
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
            return rows(out, input._space, input._dim)
    deviations = _scaled(wide(input), None, -running_mean)
    return _scaled(_scaled(deviations, (running_var + eps).rsqrt(), None), weight, bias).to(input.dtype)


def _check_channels(input: Rows, by_channel: dict[str, Tensor | None]) -> None:
    """Refuse rows anywhere but in the input, and there as channels."""
    if not is_rows(input) or input._dim == 1 or any(map(is_rows, by_channel.values())):
        refuse("batch_norm", "takes rows only as its input, and not as channels")
    for what, value in by_channel.items():
        if value is not None and what.startswith("running") and value.requires_grad and torch.is_grad_enabled():
            raise RuntimeError(f"batch_norm is not differentiable with respect to {what}")
        if value is not None and value.numel() != input.size(1):
            raise RuntimeError(f"{what} should contain {input.size(1)} elements not {value.numel()}")


def _batch_norm_by_kernel(
    input: Rows, weight: Tensor | None, bias: Tensor | None, eps: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Of local rows ``[n, C]``, with backward once only; also the mean and the biased variance of each column."""
    space, view = input._space, input._space.view
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


def _stacked(at_least: Callable[[Tensor], Tensor], dim: int) -> Callable[[Sequence[Tensor]], Tensor]:
    def stacked(tensors: Sequence[Tensor]) -> Tensor:
        parts = [at_least(x) for x in tensors]
        return torch.cat(parts, min(dim, parts[0].dim() - 1))

    return stacked


for _name, _of in {
    "_foreach_max": lambda xs: [x.max() for x in xs],
    "_foreach_norm": lambda xs, ord=2, dtype=None: [torch.linalg.vector_norm(x, ord, dtype=dtype) for x in xs],
    "_is_all_true": Tensor.all,
    "_is_any_true": Tensor.any,
    "__rmatmul__": lambda self, other: torch.matmul(other, self),
    "allclose": lambda *args, **kwargs: bool(torch.isclose(*args, **kwargs).all()),
    "column_stack": _stacked(lambda x: x.reshape(-1, 1) if x.dim() <= 1 else x, 1),
    "dist": lambda input, other, p=2: torch.norm(input - other, p),
    "dstack": _stacked(torch.atleast_3d, 2),
    "hstack": _stacked(torch.atleast_1d, 1),
    "pairwise_distance": lambda x1, x2, p=2.0, eps=1e-6, keepdim=False: (x1 - x2 + eps).norm(p, -1, keepdim),
    "row_stack": _stacked(torch.atleast_2d, 0),
    "stack": lambda tensors, dim=0: torch.cat([x.unsqueeze(dim) for x in tensors], dim),
    "vstack": _stacked(torch.atleast_2d, 0),
}.items():
    composite(_name)(_of)

_OF_TORCH = """alpha_dropout batch_norm dropout dropout1d dropout2d dropout3d embedding feature_alpha_dropout
    gaussian_nll_loss group_norm gumbel_softmax instance_norm local_response_norm log_softmax
    multilabel_soft_margin_loss normalize softmax softmin triplet_margin_with_distance_loss"""
_CALLED = (getattr(F, name) for name in _OF_TORCH.split())
for _func in (*_CALLED, torch.norm, torch.tensordot, Tensor.__contains__, Tensor.norm):
    means_its_body(_func)

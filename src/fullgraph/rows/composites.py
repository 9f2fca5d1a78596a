"""Norms, similarities, convolutions: functions that are more than one operation, over the rows of all ranks.

Where all they look at lies within a row, they run on local rows as they are; where it is rows, they are written in the
global view itself, batch norm in training excepted, which has kernels; or they are refused.
"""

import math
import warnings
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from fullgraph.engine import batch_norm as norm_by_kernel
from fullgraph.rows.alignment import wrapped_at
from fullgraph.rows.arguments import dims_of, named
from fullgraph.rows.draws import exponential_like
from fullgraph.rows.once import only_once
from fullgraph.rows.table import composite, composite_loss, entered, mapped, meaning, name_of, refuse, tensors_in
from fullgraph.rows.tensor import Rows, dim_of, functions_off, global_shape, is_rows, local, rows, space_of


def _batch_norm(
    input: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    by_channel = {"running_mean": running_mean, "running_var": running_var, "weight": weight, "bias": bias}
    _check_channels("batch_norm", input, by_channel)
    if eps < 0.0 or (training and eps <= 0.0):
        raise ValueError(f"batch_norm eps must be positive during training, and never negative, but got {eps}")
    count = input.numel() // max(input.size(1), 1)
    if training and count == 1:
        raise ValueError(f"Expected more than 1 value per channel when training, got input size {input.size()}")
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


def _check_channels(name: str, input: Tensor, by_channel: dict[str, Tensor | None]) -> None:
    """Refuse rows anywhere but in the input, and there as channels.

    Raises:
        RuntimeError: if something has not an entry for each channel, or a statistic needs a gradient, as in torch.
    """
    if not is_rows(input) or dim_of(input) == 1 or any(map(is_rows, by_channel.values())):
        refuse(name, "takes rows only as its input, and not as channels")
    for what, value in by_channel.items():
        if value is not None and what.startswith("running") and value.requires_grad and torch.is_grad_enabled():
            raise RuntimeError(f"{name} is not differentiable with respect to {what}")
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
    for running, value in ((running_mean, mean), (running_var, variance * (count / (count - 1)))):
        if running is not None:
            running.lerp_(value.detach().flatten().to(running.dtype), momentum)


def _instance_norm(
    input: Tensor,
    running_mean: Tensor | None = None,
    running_var: Tensor | None = None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    use_input_stats: bool = True,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    by_channel = {"running_mean": running_mean, "running_var": running_var, "weight": weight, "bias": bias}
    _check_channels("instance_norm", input, by_channel)
    if not use_input_stats:
        return _normalized_by_running(input, running_mean, running_var, weight, bias, eps)
    if math.prod(input.shape[2:]) == 1:
        raise ValueError(f"Expected more than 1 spatial element when training, got input size {input.size()}")
    out, mean, variance = _normalized(input, list(range(2, input.dim())), eps)
    if running_mean is not None or running_var is not None:
        count = input.numel() // max(input.size(0) * input.size(1), 1)
        _update(running_mean, running_var, mean.mean(0), variance.mean(0), count, momentum)
    return _scaled(out, weight, bias).to(input.dtype)


composite_loss("batch_norm", _batch_norm)
composite_loss("instance_norm", _instance_norm)


@meaning("layer_norm rms_norm")
def _norm_within_rows(func: Any, args: Any, kwargs: Any) -> Tensor:
    given = named(args, kwargs, "input normalized_shape")
    x = given["input"]
    _check_only_rows(func, x, args, kwargs)
    if x._dim >= x.dim() - len(given["normalized_shape"]):
        refuse(func, "would take the statistics of all rows together")
    return rows(func(*args, **kwargs), x._space, x._dim)


@meaning("group_norm")
def _group_norm(func: Any, args: Any, kwargs: Any) -> Tensor:
    given = named(args, kwargs, "input num_groups weight bias eps cudnn_enabled")
    x, groups = given.pop("input"), given["num_groups"]
    _check_only_rows(func, x, args, kwargs)
    _check_first(func, x)
    shape = global_shape(x)
    # What torch.nn.functional's checks itself; this rank's rows may be too few by chance.
    if func is F.group_norm and len(shape) > 1 and math.prod(shape) // groups == 1:
        raise ValueError(f"Expected more than 1 value per channel when training, got input size {shape}")
    return rows(torch.group_norm(local(x), **given), x._space, 0)


@meaning("local_response_norm")
def _local_response_norm(func: Any, args: Any, kwargs: Any) -> Tensor:
    x = named(args, kwargs, "input")["input"]
    _check_first(func, x)
    return _of_some_rows(func, x, args, kwargs)


@meaning(
    """conv1d conv2d conv3d conv_transpose1d conv_transpose2d conv_transpose3d avg_pool1d avg_pool2d avg_pool3d
    max_pool1d max_pool2d max_pool3d max_pool1d_with_indices max_pool2d_with_indices max_pool3d_with_indices
    adaptive_avg_pool1d adaptive_avg_pool2d adaptive_avg_pool3d adaptive_max_pool1d adaptive_max_pool2d
    adaptive_max_pool3d adaptive_max_pool1d_with_indices adaptive_max_pool2d_with_indices
    adaptive_max_pool3d_with_indices lp_pool1d lp_pool2d lp_pool3d"""
)
def _within_images(func: Any, args: Any, kwargs: Any) -> Any:
    """Of a batch ``[N, C, …]`` whose images are rows; without a batch, the first dimension would be channels."""
    x = named(args, kwargs, "input")["input"]
    _check_only_rows(func, x, args, kwargs)
    num_spatial = int(next(letter for letter in name_of(func) if letter.isdigit()))
    if x.dim() != num_spatial + 2:
        refuse(func, "takes rows only as a batch")
    _check_first(func, x)
    return _of_some_rows(func, x, args, kwargs)


def _of_some_rows(func: Any, x: Rows, args: Any, kwargs: Any) -> Any:
    """A row-wise function, of a row of zeros where there is none.

    Without rows torch makes another graph, whose second derivative would have other sums over ranks than elsewhere.
    """
    own = local(x)
    some = own if len(own) else torch.cat([own, own.new_zeros((1, *own.shape[1:]))])
    out = func(*mapped(args, lambda y: some if y is x else y), **mapped(kwargs, lambda y: some if y is x else y))
    return wrapped_at(mapped(out, lambda y: y.narrow(0, 0, len(own))), x._space, 0)


def _check_only_rows(func: Any, x: Any, args: Any, kwargs: Any) -> None:
    """Refuse rows among parameters."""
    if not isinstance(x, Rows) or sum(isinstance(other, Rows) for other in tensors_in((args, kwargs))) > 1:
        refuse(func, "takes rows only as its input")


def _check_first(func: Any, x: Rows) -> None:
    if x._dim != 0:
        refuse(func, "takes rows only as its first dimension")


@meaning("glu")
def _glu(func: Any, args: Any, kwargs: Any) -> Tensor:
    given = named(args, kwargs, "input dim")
    x, dim = given["input"], given.get("dim", -1)
    if dims_of(x, dim) == (x._dim,):
        refuse(func, "would split the rows")
    return rows(func(*args, **kwargs), x._space, x._dim)


def _normalize(input: Tensor, p: float = 2.0, dim: Any = 1, eps: float = 1e-12, out: Tensor | None = None) -> Tensor:
    if out is not None:
        refuse("normalize", "does not write into out=")
    return input / input.norm(p, dim, keepdim=True).clamp_min(eps)


composite_loss("normalize", _normalize)


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


@composite("gumbel_softmax")
def _gumbel_softmax(logits: Tensor, tau: float = 1, hard: bool = False, eps: float = 1e-10, dim: int = -1) -> Tensor:
    if eps != 1e-10:
        warnings.warn("`eps` parameter is deprecated and has no effect.", stacklevel=2)
    if not logits.is_floating_point():
        raise RuntimeError(f"gumbel_softmax takes floating-point logits, not {logits.dtype}")
    gumbels = -exponential_like(logits).log()
    soft = ((logits + gumbels) / tau).softmax(dim)
    if not hard:
        return soft
    if dims_of(logits, dim) == (dim_of(logits),):
        refuse("gumbel_softmax", "would choose among rows")
    with functions_off():
        plain = local(soft).detach()
        chosen = torch.zeros_like(plain).scatter_(dim, plain.argmax(dim, keepdim=True), 1.0)
    return rows(chosen, space_of(soft), dim_of(soft)) - soft.detach() + soft

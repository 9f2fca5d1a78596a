"""Losses over the rows of all ranks: each rank its rows' losses, then one sum over ranks, of the divisor too.

The mean of ranks' means would be another number wherever ranks have different numbers of rows, or of rows that count.
"""

import inspect
import math
import sys
from collections.abc import Callable
from functools import cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from fullgraph.rows.adjoints import sum_over_ranks
from fullgraph.rows.alignment import moved, one_space, repeated
from fullgraph.rows.space import Space
from fullgraph.rows.table import composite_loss, entered, mapped, refuse, tensors_in
from fullgraph.rows.tensor import Rows, functions_off, global_shape, local, rows, without_memory

# Every entry of the loss follows from the entries of the arguments that broadcasting brings together.
_BY_ENTRY = (
    "mse_loss",
    "l1_loss",
    "smooth_l1_loss",
    "huber_loss",
    "binary_cross_entropy",
    "binary_cross_entropy_with_logits",
    "kl_div",
    "poisson_nll_loss",
    "soft_margin_loss",
    "margin_ranking_loss",
    "hinge_embedding_loss",
)
# Each row of the loss follows from the same row of all arguments, the first dimension of each.
_BY_ROW = ("cosine_embedding_loss", "multi_margin_loss", "multilabel_margin_loss", "triplet_margin_loss")

Arguments = dict[str, Any]


@cache
def _signature(func: Callable[..., Any]) -> inspect.Signature:
    return inspect.signature(func)


def _arguments(func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Arguments, str]:
    """Arguments by name, without the reduction, and the reduction.

    Raises:
        TypeError: if they do not fit the signature.
        ValueError: if there is no such reduction.
        UnsupportedOperation: if one of the deprecated flags says how to reduce.
    """
    given = _signature(func).bind(*args, **kwargs).arguments
    flags = given.pop("size_average", None), given.pop("reduce", None)
    if flags != (None, None):
        refuse(func, "is deprecated with size_average or reduce; write reduction=")
    reduction = given.pop("reduction", "mean")
    if reduction not in ("none", "mean", "sum") and (func is not F.kl_div or reduction != "batchmean"):
        raise ValueError(f"{reduction} is not a valid value for reduction")
    return given, reduction


def weight_of_l1_loss() -> Tensor | None:
    """The argument ``weight`` of the ``l1_loss`` that is being called, which torch 2.13 does not hand over."""
    frame = sys._getframe(1)
    while frame is not None and frame.f_code is not F.l1_loss.__code__:
        frame = frame.f_back
    return None if frame is None else frame.f_locals["weight"]


def _check(func: Callable[..., Any], given: Arguments) -> None:
    """Raise torch's own error where the whole graph's shapes do not fit, on all ranks; local ones may fit by chance."""
    try:
        func(**mapped(given, without_memory), reduction="none")
    except AssertionError as error:  # as torch checks some of what has no numbers
        raise RuntimeError(str(error)) from error


def _shape(x: Tensor) -> tuple[int, ...]:
    return tuple(map(int, global_shape(x) if isinstance(x, Rows) else x.shape))


def _cut(x: Any, space: Space, dim: int) -> Any:
    """This rank's rows of an argument, dimension ``dim``, unless they are to be broadcast."""
    if isinstance(x, Rows):
        return local(moved(x, space))
    if isinstance(x, Tensor) and 0 <= dim < x.dim() and x.shape[dim] == space.num_rows:
        return space.localize(x, dim)
    return x


def _reduced(losses: Tensor, space: Space, dim: int, reduction: str) -> Tensor:
    """All ranks' losses, whose dimension ``dim`` the rows are, reduced. Collective, unless the reduction is none."""
    if reduction == "none":
        return rows(losses, space, dim)
    if reduction == "mean" and not (losses.is_floating_point() or losses.is_complex()):
        return losses.mean()  # torch's own error
    total = sum_over_ranks(_summed(losses), space.view)
    if reduction == "mean":
        total = total / math.prod(space.num_rows if d == dim else size for d, size in enumerate(losses.shape))
    return total.to(losses.dtype) if losses.is_floating_point() else total


def _summed(losses: Tensor) -> Tensor:
    """This rank's sum; of halves as float32, since it may be too large for them where the mean is not."""
    return losses.sum(dtype=torch.float32 if losses.dtype in (torch.float16, torch.bfloat16) else None)


def _alone(func: Callable[..., Any], given: Arguments, space: Space, dim: int, reduction: str) -> Tensor:
    """The loss on one rank, which has all rows: torch's own."""
    if reduction == "none":
        return rows(func(**given, reduction="none"), space, dim)
    space.view.check()
    return func(**given, reduction=reduction)


def _register(name: str, of: Callable[[Callable[..., Any], Arguments, str], Tensor]) -> None:
    """Register a loss, given a function of torch's loss, arguments by name, where gradients enter, and a reduction."""
    func = getattr(F, name)

    def loss(*args: Any, **kwargs: Any) -> Tensor:
        given, reduction = _arguments(func, args, kwargs)
        if func is F.l1_loss:
            given["weight"] = weight_of_l1_loss()
        weight = given.get("weight")
        if reduction == "mean" and weight is not None and func in (F.mse_loss, F.l1_loss):
            return func(**given, reduction="sum") / weight.sum()
        with functions_off():
            return of(func, entered((), given)[1], reduction)

    composite_loss(name, loss)


def _by_entry(func: Callable[..., Any], given: Arguments, reduction: str) -> Tensor:
    given = repeated(func, given)
    space = one_space(func, given)
    from_right = {x.dim() - x._dim for x in tensors_in(given) if isinstance(x, Rows)}
    if len(from_right) > 1:
        refuse(func, "would pair the rows of one argument with columns of another")
    (right,) = from_right
    own = {k: _cut(x, space, x.dim() - right if isinstance(x, Tensor) else 0) for k, x in given.items()}
    dim = max(x.dim() for x in tensors_in(own)) - right
    if space.view.is_alone:
        return _alone(func, own, space, dim, reduction)
    if len(set(map(_shape, tensors_in(given)))) > 1:
        _check(func, given)
    losses = func(**own, reduction="none")
    if reduction != "batchmean":
        return _reduced(losses, space, dim, reduction)
    return _reduced(losses, space, dim, "sum") / _shape(given["input"])[0]


def _by_row(func: Callable[..., Any], given: Arguments, reduction: str) -> Tensor:
    weight = given.get("weight")  # of classes
    per_row = {k: x for k, x in given.items() if isinstance(x, Tensor) and x is not weight}
    space = one_space(func, given)
    if isinstance(weight, Rows) or any(isinstance(x, Rows) and x._dim != 0 for x in per_row.values()):
        refuse(func, "takes rows as its first dimension only")
    if max(x.dim() for x in per_row.values()) < 2:
        refuse(func, "takes a vector as a single example, not as rows")
    own = {**given, **{k: _cut(x, space, 0) for k, x in per_row.items()}}
    if space.view.is_alone:
        return _alone(func, own, space, 0, reduction)
    _check(func, given)
    return _reduced(func(**own, reduction="none"), space, 0, reduction)


def _by_class(func: Callable[..., Any], given: Arguments, reduction: str) -> Tensor:
    scores, target = given["input"], given["target"]
    space = one_space(func, given)
    is_index = not target.is_floating_point()
    # Classes are dimension 1 of the scores and of their probabilities, and no dimension of their indices.
    row_dims = {target._dim + (is_index and target._dim > 0)} if isinstance(target, Rows) else set()
    if isinstance(scores, Rows):
        row_dims.add(scores._dim)
    if isinstance(given.get("weight"), Rows) or 1 in row_dims or scores.dim() < 2:
        refuse(func, "would take rows for classes")
    if len(row_dims) > 1:
        refuse(func, "would pair the rows of one argument with columns of another")
    (dim,) = row_dims
    own = {**given, "input": _cut(scores, space, dim), "target": _cut(target, space, dim - (is_index and dim > 0))}
    dim_of_loss = max(dim - 1, 0)
    if space.view.is_alone:
        return _alone(func, own, space, dim_of_loss, reduction)
    of_scores, of_target, weight = _shape(scores), _shape(target), given.get("weight")
    of_classes = of_scores[:1] + of_scores[2:] if is_index else of_scores
    if of_target != of_classes or (weight is not None and weight.shape != of_scores[1:2]):
        _check(func, given)
    losses = func(**own, reduction="none")
    if reduction == "mean" and is_index:
        return _mean_of_counted(losses, own, space)
    return _reduced(losses, space, dim_of_loss, reduction)


def _mean_of_counted(losses: Tensor, own: Arguments, space: Space) -> Tensor:
    """The mean over all ranks' targets but the ignored ones, each as often as the weight of its class says.

    The loss and its divisor are one sum, in float64, which holds any count exactly.
    """
    target, weight = own["target"].long(), own.get("weight")
    counts = target != own.get("ignore_index", -100)
    divisor = counts if weight is None else weight.detach()[torch.where(counts, target, 0)] * counts
    both = torch.stack([_summed(losses).double(), divisor.sum(dtype=torch.float64)])
    total, count = sum_over_ranks(both, space.view)
    return (total / count).to(losses.dtype)


for _name in _BY_ENTRY:
    _register(_name, _by_entry)
for _name in _BY_ROW:
    _register(_name, _by_row)
for _name in ("cross_entropy", "nll_loss"):
    _register(_name, _by_class)

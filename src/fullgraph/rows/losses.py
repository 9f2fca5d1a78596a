"""Losses over the rows of all ranks: each rank its rows' losses, then one sum over ranks, of the divisor too.

The mean of ranks' means would be another number wherever ranks have different numbers of rows, or of rows that count.
"""

import inspect
import sys
from collections.abc import Callable
from functools import cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from fullgraph.rows.adjoints import sum_over_ranks
from fullgraph.rows.alignment import broadcast, one_space, spread, wrapped
from fullgraph.rows.calls import mapped, refuse, tensors_in
from fullgraph.rows.space import Space
from fullgraph.rows.table import entered, refused
from fullgraph.rows.tensor import MEANINGS, Rows, functions_off, rows, sizes, without_memory

# Every entry of the loss follows from the entries of the arguments that broadcasting brings together.
_BY_ENTRY = """mse_loss l1_loss smooth_l1_loss huber_loss binary_cross_entropy binary_cross_entropy_with_logits kl_div
    poisson_nll_loss soft_margin_loss margin_ranking_loss hinge_embedding_loss"""
# Each row of the loss follows from the same row of all arguments, the first dimension of each.
_BY_ROW = "cosine_embedding_loss multi_margin_loss multilabel_margin_loss triplet_margin_loss"
# Each row's class is an index or probabilities, and classes have weights.
_BY_CLASS = "cross_entropy nll_loss"

Arguments = dict[str, Any]
_signature = cache(inspect.signature)


def _arguments(func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Arguments, str]:
    """Arguments by name, without the reduction, and the reduction."""
    given = _signature(func).bind(*args, **kwargs).arguments
    flags = given.pop("size_average", None), given.pop("reduce", None)
    if flags != (None, None):
        refuse(func, "is deprecated with size_average or reduce; write reduction=")
    reduction = given.pop("reduction", "mean")
    if reduction not in ("none", "mean", "sum") and (func is not F.kl_div or reduction != "batchmean"):
        raise ValueError(f"{reduction} is not a valid value for reduction")
    if func is F.l1_loss:
        given["weight"] = weight_of_l1_loss()
    return given, reduction


def weight_of_l1_loss() -> Tensor | None:
    """The argument ``weight`` of the ``l1_loss`` that is being called, which torch 2.13 does not hand over."""
    frame = sys._getframe(1)
    while frame is not None and frame.f_code is not F.l1_loss.__code__:
        frame = frame.f_back
    return None if frame is None else frame.f_locals["weight"]


def _register(name: str, losses_of: Callable[[Callable[..., Any], Arguments, str], Tensor]) -> None:
    """Register a loss, given what makes the losses of rows of torch's loss, arguments by name, and the reduction.

    What is no `Rows` is reduced already.
    """
    func = getattr(F, name)

    def loss(*args: Any, **kwargs: Any) -> Tensor:
        given, reduction = _arguments(func, args, kwargs)
        weight = given.get("weight")
        if reduction == "mean" and weight is not None and func in (F.mse_loss, F.l1_loss):
            return func(**given, reduction="sum") / weight.sum()
        with functions_off():
            losses = losses_of(func, entered((), given)[1], reduction)
        if reduction == "none" or not isinstance(losses, Rows):
            return losses
        if reduction == "mean":
            return losses.mean()
        return losses.sum() if reduction == "sum" else losses.sum() / given["input"].shape[0]

    MEANINGS[func] = lambda func, args, kwargs: loss(*args, **kwargs)


def _check(func: Callable[..., Any], given: Arguments) -> None:
    """Raise torch's own error where the whole graph's shapes do not fit, on all ranks; local ones may fit by chance."""
    try:
        func(**mapped(given, without_memory), reduction="none")
    except AssertionError as error:  # as torch checks some of what has no numbers
        raise RuntimeError(str(error)) from error


def _by_entry(func: Callable[..., Any], given: Arguments, reduction: str) -> Tensor:
    _, own, space, right = broadcast(func, (), given)
    if not space.view.is_alone and len({tuple(sizes(x)) for x in tensors_in(given)}) > 1:
        _check(func, given)
    return wrapped(func(**own, reduction="none"), space, -right)


def _by_row(func: Callable[..., Any], given: Arguments, reduction: str) -> Tensor:
    weight = given.get("weight")  # of classes
    per_row = {k: x for k, x in given.items() if isinstance(x, Tensor) and x is not weight}
    space = one_space(func, given)
    if isinstance(weight, Rows) or any(isinstance(x, Rows) and x._dim != 0 for x in per_row.values()):
        refuse(func, "takes rows as its first dimension only")
    if max(x.dim() for x in per_row.values()) < 2:
        refuse(func, "takes a vector as a single example, not as rows")
    _check(func, given)
    own = {**given, **{k: spread(func, x, space, x.dim()) for k, x in per_row.items()}}
    return rows(func(**own, reduction="none"), space, 0)


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
    of_scores, of_target, weight = sizes(scores), sizes(target), given.get("weight")
    of_classes = of_scores[:1] + of_scores[2:] if is_index else of_scores
    if of_target != of_classes or (weight is not None and [*weight.shape] != of_scores[1:2]):
        _check(func, given)
    own_target = spread(func, target, space, target.dim() - (dim - (is_index and dim > 0)))
    own = {**given, "input": spread(func, scores, space, scores.dim() - dim), "target": own_target}
    if space.view.is_alone and reduction != "none":  # torch's own, in one kernel
        space.view.check()
        return func(**own, reduction=reduction)
    losses = func(**own, reduction="none")
    if reduction == "mean" and is_index:
        return _mean_of_counted(losses, own, space)
    return rows(losses, space, max(dim - 1, 0))


def _mean_of_counted(losses: Tensor, own: Arguments, space: Space) -> Tensor:
    """The mean over all ranks' targets but the ignored ones, each as often as the weight of its class says.

    The loss and its divisor are one sum, in float64, which holds any count exactly.
    """
    target, weight = own["target"].long(), own.get("weight")
    counts = target != own.get("ignore_index", -100)
    divisor = counts if weight is None else weight.detach()[torch.where(counts, target, 0)] * counts
    total = losses.sum(dtype=torch.float32 if losses.dtype in (torch.float16, torch.bfloat16) else None)
    both = torch.stack([total.double(), divisor.sum(dtype=torch.float64)])
    total, count = sum_over_ranks(both, space.view)
    return (total / count).to(losses.dtype)


for _names, _losses_of in ((_BY_ENTRY, _by_entry), (_BY_ROW, _by_row), (_BY_CLASS, _by_class)):
    refused(_names, "of torch itself takes other arguments; write torch.nn.functional's")
    for _name in _names.split():
        _register(_name, _losses_of)

"""Functions of lists of tensors, which optimizers use: where a tensor is `Rows`, as a parameter with a row per node is.

What an optimizer does to a list it does to each tensor alone, so that `Rows` and what every rank has may stand in one
list: the places of each kind are run together.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from fullgraph.rows.alignment import broadcast
from fullgraph.rows.pointwise import meaning_if_pointwise
from fullgraph.rows.table import composite, entered, meaning, name_of, refuse
from fullgraph.rows.tensor import MEANINGS, Rows, functions_off, is_rows, rows


def _row_wise(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """A function that works on each place of its lists alone, row by row."""
    given = (*args, *kwargs.values())
    if any(is_rows(value) for value in given):
        refuse(func, "would use rows for all tensors of a list")
    lists = [value for value in given if isinstance(value, list | tuple)]
    length = len(lists[0])
    for other in lists:
        if len(other) != length:
            raise RuntimeError(f"Tensor lists must have the same number of tensors, got {length} and {len(other)}")
    of_rows = [place for place in range(length) if any(is_rows(values[place]) for values in lists)]
    others = [place for place in range(length) if place not in of_rows]
    made: list[Any] = [None] * length
    for chosen, run in ((others, func), (of_rows, lambda *a, **k: _on_own_rows(func, a, k))):
        if chosen:
            results = run(
                *_at(chosen, args, length), **dict(zip(kwargs, _at(chosen, kwargs.values(), length), strict=True))
            )
            for place, result in zip(chosen, results or (), strict=False):
                made[place] = result
    return None if name_of(func).endswith("_") else made


def _at(places: list[int], values: Any, length: int) -> list[Any]:
    """The entries of lists, and of a tensor of numbers for each place, at some places."""
    found = []
    for value in values:
        if isinstance(value, list | tuple):
            value = [value[place] for place in places]
        elif isinstance(value, Tensor) and value.dim() == 1 and len(value) == length:
            value = value[places]
        found.append(value)
    return found


def _on_own_rows(func: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
    """The same where there are `Rows` at every place."""
    with functions_off():
        args, kwargs = entered(tuple(args), kwargs)
        lists = [list(value) if _is_tensors(value) else value for value in (*args, *kwargs.values())]
        tensors = [value for value in lists if _is_tensors(value)]
        writes, found = name_of(func).endswith("_"), []
        for place in range(len(tensors[0])):
            entries = [values[place] for values in tensors]
            aligned, _, space, right = broadcast(func, entries, {})
            if writes and (not is_rows(entries[0]) or aligned[0] is not entries[0]):
                refuse(func, "would write rows into a tensor that every rank has")
            for values, entry in zip(tensors, aligned, strict=True):
                values[place] = entry
            found.append((space, right))
        results = func(*lists[: len(args)], **dict(zip(kwargs, lists[len(args) :], strict=True)))
        if writes:
            return None
        return [rows(x, space, x.dim() - right) for x, (space, right) in zip(results, found, strict=True)]


def _is_tensors(value: Any) -> bool:
    return isinstance(value, list | tuple) and isinstance(value[0], Tensor)


for _name in dir(torch):
    _base = _name.removeprefix("_foreach_")
    if _base != _name and _base != "max" and meaning_if_pointwise(_base) is not None:
        MEANINGS[getattr(torch, _name)] = _row_wise


@composite("_foreach_norm")
def _norms(xs: Sequence[Tensor], ord: Any = 2, dtype: torch.dtype | None = None) -> list[Tensor]:
    return [torch.linalg.vector_norm(x, ord, dtype=dtype) for x in xs]


@composite("_foreach_max")
def _largest(xs: Sequence[Tensor]) -> list[Tensor]:
    return [x.max() for x in xs]


@meaning("_amp_foreach_non_finite_check_and_unscale_")
def _unscale(func: Any, args: Any, kwargs: Any) -> None:
    """A gradient that is not finite on any rank makes all ranks skip the step."""
    grads, found_inf, inv_scale = (*args, *kwargs.values())
    func(grads, found_inf, inv_scale)
    view = next(grad._space.view for grad in grads if isinstance(grad, Rows))
    found_inf.copy_(view.max(found_inf))


def _fused(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    """A step of an optimizer in one kernel: row by row, where the gradient and the state lie as the parameter does."""
    lists = [value for value in (*args, *kwargs.values()) if isinstance(value, list | tuple) and value]
    for values in zip(*lists, strict=True):
        kinds = {(x._space, x._dim) if isinstance(x, Rows) else None for x in values if x.dim() > 0}
        if len(kinds) > 1:
            refuse(func, "would update a parameter of some rows from a gradient or state of others")
    with functions_off():
        func(*args, **kwargs)


for _name in ("_fused_adam_", "_fused_adamw_", "_fused_sgd_", "_fused_adagrad_"):
    MEANINGS[getattr(torch, _name)] = _fused

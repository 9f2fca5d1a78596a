"""Functions of lists of tensors, which optimizers use: where a tensor is `Rows`, as a parameter with a row per node is.

What an optimizer does to a list it does to each tensor alone, so that `Rows` and what every rank has may stand in one
list: this rank's rows of the one and all of the other.
"""

from typing import Any

import torch
from torch import Tensor

from fullgraph.rows.alignment import broadcast
from fullgraph.rows.pointwise import meaning_if_pointwise
from fullgraph.rows.table import entered, meaning, name_of, refuse
from fullgraph.rows.tensor import MEANINGS, Rows, functions_off, is_rows, rows


def _row_wise(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """A function that works on each place of its lists alone, row by row."""
    given = [list(value) if isinstance(value, list | tuple) else value for value in (*args, *kwargs.values())]
    lists = [value for value in given if isinstance(value, list)]
    for_all, length = [value for value in given if isinstance(value, Tensor)], len(lists[0])
    if any(map(is_rows, for_all)):
        refuse(func, "would use rows for all tensors of a list")
    if torch.is_grad_enabled() and any(value.requires_grad for value in for_all):
        refuse(func, "would need the gradient of one number for all tensors of a list")
    for other in lists:
        if len(other) != length:
            raise RuntimeError(f"Tensor lists must have the same number of tensors, got {length} and {len(other)}")
    tensors = [values for values in lists if isinstance(values[0], Tensor)]
    writes, of_rows = name_of(func).endswith("_"), {}
    with functions_off():
        for place, entries in enumerate(zip(*tensors, strict=True)):
            if any(map(is_rows, entries)):
                aligned, _, space, right = broadcast(func, entered(entries, {})[0], {})
                if writes and not (is_rows(entries[0]) and aligned[0] is entries[0]):
                    refuse(func, "would write rows into a tensor that every rank has")
                for values, entry in zip(tensors, aligned, strict=True):
                    values[place] = entry
                of_rows[place] = space, right
        made = func(*given[: len(args)], **dict(zip(kwargs, given[len(args) :], strict=True)))
        if writes:
            return None
        for place, (space, right) in of_rows.items():
            rows(made[place], space, made[place].dim() - right)
        return list(made)


for _name in dir(torch):
    _base = _name.removeprefix("_foreach_")
    if _base != _name and _base != "max" and meaning_if_pointwise(_base) is not None:
        MEANINGS[getattr(torch, _name)] = _row_wise


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

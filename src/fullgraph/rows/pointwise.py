"""Row-wise functions: each row of the result follows from the same row of the arguments.

Which they are says torch itself: the operators that carry ``torch.Tag.pointwise`` and draw nothing, and some more.
"""

from typing import Any

import torch
from torch import Tensor

from fullgraph.rows.adjoints import gather
from fullgraph.rows.alignment import broadcast, wrapped
from fullgraph.rows.calls import mapped, name_of, refuse, writes
from fullgraph.rows.copies import copied_part, is_part
from fullgraph.rows.gradients import only_once
from fullgraph.rows.table import entered, meaning, rule
from fullgraph.rows.tensor import MEANINGS, Meaning, Rows, functions_off, is_rows, rows

# Of Python's operators whose own names say nothing to ATen; reflected and in place they have an r or i in front.
_OPERATORS = {
    **{"truediv": "div", "floordiv": "floor_divide", "mod": "remainder", "invert": "logical_not"},
    **dict.fromkeys(["and", "or", "xor", "lshift", "rshift"], "__and__"),
}
# Row-wise functions whose operators do not say so, or which are none of ATen's.
_NAMES = """
    __and__ where masked_fill masked_fill_ floor_divide float_power isclose clip clip_ copy_ fill_ zero_ prelu
    log_sigmoid logsigmoid tanhshrink softsign hardshrink to float double half bfloat16 long int bool byte short
    type type_as clone contiguous detach detach_ zeros_like ones_like full_like empty_like absolute negative
    multiply subtract divide true_divide greater less not_equal greater_equal less_equal arctan2 nan_to_num real
    imag conj positive fix xlogy cpu cuda logical_not relu relu_ selu_ elu_ celu_ rsub nelu leaky_relu_ threshold_
    pin_memory isreal resolve_conj resolve_neg arccos arcsin arctan bitwise_not
"""
_MORE = frozenset(_NAMES.split())


@rule
def meaning_if_pointwise(name: str) -> Meaning | None:
    """The meaning of a row-wise function; None if it is not known to be one."""
    candidates = [name, name.strip("_")]
    if name.startswith("__"):
        stems = [name.strip("_"), name[3:].strip("_")] if name[2] in "ri" else [name.strip("_")]
        candidates = [_OPERATORS.get(stem, stem) for stem in stems]
    return pointwise if any(each in _MORE or _is_tagged(each) for each in candidates) else None


def _is_tagged(name: str) -> bool:
    packet = getattr(torch.ops.aten, name, None) if name else None
    overloads = [getattr(packet, each) for each in packet.overloads()] if hasattr(packet, "overloads") else []  # pyright: ignore[reportOptionalMemberAccess]
    tags = [tag for overload in overloads for tag in overload.tags]
    return torch.Tag.pointwise in tags and torch.Tag.nondeterministic_seeded not in tags


def pointwise(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Do it to local rows."""
    with functions_off():
        if not kwargs and type(args[0]) is Rows:  # the usual cases, at a third of the cost
            out = _simple(func, args)
            if out is not None:
                return _spared(args, out)
        name = name_of(func)
        if name in ("to", "type_as"):  # of other tensors only the dtype and device are asked for
            out, x = func(*args, **kwargs), args[0]
            return _spared(args, rows(out, x._space, x._dim) if isinstance(x, Rows) else out)
        if writes(name) and not isinstance(args[0], Rows):  # every rank writes all rows
            return func(args[0], *mapped(args[1:], gather), **mapped(kwargs, gather))
        args, kwargs = entered(args, kwargs)
        return _spared(args, _general(func, args, kwargs))


def _spared(args: tuple[Any, ...], out: Any) -> Any:
    """``out``, for whose sake autograd keeps nothing that can be made again."""
    for x in args:
        if type(x) is Rows:
            recipes = x._space.view.recipes
            if recipes is None:
                return out
            if recipes.knows(x):
                recipes.spare(out)
                return out
    return out


def _simple(func: Any, args: tuple[Any, ...]) -> Any:
    x, other = args[0], args[1] if len(args) == 2 else None
    if len(args) > 2:
        return None
    if isinstance(other, Tensor):
        if type(other) is not Rows or other._space is not x._space or other._dim != x._dim or other.dim() != x.dim():
            return None
    elif isinstance(other, list | tuple):
        return None
    out = func(*args)
    if isinstance(out, Tensor):
        return rows(out, x._space, x._dim) if out.dim() == x.dim() else None
    return None


def _general(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    name = name_of(func)
    out = kwargs.get("out")
    is_write = writes(name)
    if out is not None and not isinstance(out, Rows):
        refuse(func, "would write rows into a tensor that every rank has")
    changed, kwargs, space, right = broadcast(func, args, kwargs)
    most = max(a.dim() for a in changed if isinstance(a, Tensor))
    if kwargs.get("out") is not out:
        refuse(func, "would write rows into rows that lie elsewhere")
    if is_write and (changed[0] is not args[0] or args[0].dim() < most):
        refuse(func, "would change the number of rows in place")
    result = func(*changed, **kwargs)
    if any(result is x and not isinstance(x, Rows) for x in args):
        result = result.view_as(result)  # the caller's own tensor does not become rows
    return wrapped(result, space, -right)


@meaning("detach")
def _detach(func: Any, args: Any, kwargs: Any) -> Rows:
    (x,) = (*args, *kwargs.values())
    out = rows(func(x), x._space, x._dim)
    return copied_part(out) if is_part(x) else out


# Activations, whose results backward can make again: noted while a model runs.


@meaning("relu relu_", enters=False, out=True)
def _relu(func: Any, args: Any, kwargs: Any) -> Any:
    x = args[0] if args else kwargs.get("input")
    recipes = x._space.view.recipes if isinstance(x, Rows) else None
    if recipes is not None:
        overwrites = name_of(func) == "relu_" or (args[1] if len(args) > 1 else kwargs.get("inplace", False))
        out = recipes.relu(x, overwrites=bool(overwrites))
        if out is not None:
            only_once(out, "relu")
            return rows(out, x._space, x._dim)
    return _noted(func, args, kwargs)


@meaning("elu leaky_relu gelu silu tanh sigmoid", enters=False, out=True)
def _noted(func: Any, args: Any, kwargs: Any) -> Any:
    out = pointwise(func, args, kwargs)
    x = args[0] if args else None
    recipes = x._space.view.recipes if isinstance(x, Rows) else None
    if x is not None and recipes is not None and isinstance(out, Tensor) and out is not x and recipes.knows(x):
        settings = args[1:]  # and not the rows themselves, which the note would keep
        recipes.note(out, x, lambda x, _: func(x, *settings, **kwargs), used_again=True)
        recipes.spare(out)
    return out


# Functions of lists of tensors, which optimizers use. What one does to a list it does to each tensor alone, so that
# `Rows`, as a parameter with a row per node is, and what every rank has may stand in one list: this rank's rows of the
# one and all of the other.


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

"""Gradients of `Rows` are `Rows` of the same space; what is given for one may be `Rows` or what every rank has.

Autograd itself works on plain local rows, and with ``enter`` and ``sum_over_ranks`` among the operations these are rows
of the one process's gradient. What is left to do is at its edges: what autograd gives to the program, by ``.grad``,
``torch.autograd.grad`` and hooks, gets its space, and what it takes is brought to this rank's rows.
"""

from functools import partial
from typing import Any

import torch
import torch.autograd
from torch import Tensor
from torch.autograd.graph import _engine_run_backward
from torch.utils import checkpoint

from fullgraph.rows.adjoints import gather
from fullgraph.rows.alignment import moved
from fullgraph.rows.calls import refuse
from fullgraph.rows.space import Space
from fullgraph.rows.table import entered_values, meaning, means_its_body
from fullgraph.rows.tensor import Rows, functions_off, functions_on, local, rows, sizes


def own_rows(value: Tensor, space: Space, dim: int) -> Tensor:
    """A value of the global view, `Rows` or what every rank has, as plain rows of this rank in ``space``."""
    with functions_off():
        if not isinstance(value, Rows):
            return space.localize(entered_values([value], space.view)[0] if value.requires_grad else value, dim)
        if value._dim != dim:
            refuse("a gradient", "has its rows in another dimension than what it is the gradient of")
        return local(moved(value, space))


def as_rows(grad: Tensor | None, space: Space, dim: int) -> Tensor | None:
    """A gradient that autograd gives, as `Rows` of its memory: the tensor itself may be others' gradient too."""
    return None if grad is None else rows(local(grad), space, dim)


# -- attributes


@meaning("grad _grad")
def _grad(func: Any, args: Any, kwargs: Any) -> Tensor | None:
    x = args[0]
    found = func(x)
    return None if found is None else rows(found, x._space, x._dim)


@meaning("grad= _grad=")
def _set_grad(func: Any, args: Any, kwargs: Any) -> None:
    x, value = args
    func(x, None if value is None else _stored(func, x, value, "assigned grad has data of a different size"))


@meaning("detach_")
def _detach_in_place(func: Any, args: Any, kwargs: Any) -> Any:
    if args[0]._is_view():  # as rows that were picked are for autograd, but not for torch
        refuse(func, "of a view; write x = x.detach()")
    return func(*args, **kwargs)


@meaning("data")
def _data(func: Any, args: Any, kwargs: Any) -> Tensor:
    return rows(func(args[0]), args[0]._space, args[0]._dim)


@meaning("data=")
def _set_data(func: Any, args: Any, kwargs: Any) -> None:
    x, value = args
    if isinstance(x, Rows) and isinstance(value, Rows):
        func(x, value)
        x._space, x._dim = value._space, value._dim
    else:
        func(x, _stored(func, x, value, "only rows, or what every rank has of the same shape, can be the data of rows"))


def _stored(func: Any, x: Tensor, value: Tensor, if_unlike: str) -> Tensor:
    """``value`` as the rows that ``x`` has: the same object if it is these already."""
    if not isinstance(x, Rows):
        refuse(func, "would write rows into a tensor that every rank has")
    if sizes(value) != sizes(x):
        raise RuntimeError(if_unlike)
    if isinstance(value, Rows) and value._space == x._space and value._dim == x._dim:
        return value
    return rows(own_rows(value.detach(), x._space, x._dim), x._space, x._dim)


@meaning("register_hook")
def _register_hook(func: Any, args: Any, kwargs: Any) -> Any:
    x, hook = (*args, *kwargs.values())
    space, dim = x._space, x._dim

    def on_own_rows(grad: Tensor) -> Tensor | None:
        with functions_on():
            answer = hook(as_rows(grad, space, dim))
        return None if answer is None else own_rows(answer, space, dim)

    return func(x, on_own_rows)


# -- backward


def _run(outputs: Any, seeds: Any, retain_graph: Any, create_graph: Any, inputs: Any, *args: Any, **kwargs: Any) -> Any:
    """Autograd's own engine, from and to gradients of the global view. Torch functions are on while hooks run."""
    plain = tuple(
        None if seed is None else own_rows(seed, x._space, x._dim) if isinstance(x, Rows) else gather(seed)
        for x, seed in zip(outputs, seeds, strict=True)
    )
    found = _engine_run_backward(outputs, plain, retain_graph, create_graph, inputs, *args, **kwargs) or ()
    return tuple(
        as_rows(g, x._space, x._dim) if isinstance(x, Rows) else g for x, g in zip(inputs, found, strict=False)
    )


def _make_grads(outputs: Any, grads: Any, is_grads_batched: bool) -> Any:
    if is_grads_batched:
        refuse("torch.autograd.grad", "with is_grads_batched works on many gradients at once")
    return torch.autograd._make_grads(outputs, grads, is_grads_batched)  # which looks at shapes as torch does


for _func in (torch.autograd.grad, torch.autograd.backward, Tensor.backward):
    means_its_body(_func, _engine_run_backward=_run, _make_grads=_make_grads)


def only_once(out: Tensor, name: str) -> None:
    """Refuse ``create_graph=True`` in the backward of the kernel that made ``out``, the function ``name``.

    Torch's ``once_differentiable`` only puts an error where a second backward would pass: one for chosen inputs passes
    by it, and where the gradient is constant there is nothing to pass, so that a gradient penalty would lose a part.
    """
    if out.grad_fn is not None:
        out.grad_fn.register_prehook(partial(_refuse_again, name))


def _refuse_again(name: str, grads: Any) -> None:
    if torch.is_grad_enabled():
        refuse(name, "has no second derivative here, which create_graph=True asks for")


# -- checkpoints


def _of_memory(x: Tensor) -> dict[str, Any]:
    """What a checkpoint compares of a tensor that is made again, whether or not it meets it as `Rows`."""
    with functions_off():
        return {"shape": x.shape, "dtype": x.dtype, "device": x.device}


checkpoint._allowed_determinism_checks_to_fns[checkpoint._DEFAULT_DETERMINISM_MODE] = _of_memory

"""Gradients of `Rows` are `Rows` of the same space; what is given for one may be `Rows` or what every rank has.

Autograd itself works on plain local rows, and with ``enter`` and ``sum_over_ranks`` among the operations these are rows
of the one process's gradient. What is left to do is at its edges: what autograd gives to the program, by ``.grad``,
``torch.autograd.grad`` and hooks, gets its space, and what it takes is brought to this rank's rows.
"""

from collections.abc import Sequence
from typing import Any

import torch
import torch.autograd
from torch import Tensor
from torch.autograd.graph import GradientEdge, _engine_run_backward
from torch.utils import checkpoint

from fullgraph.rows.alignment import moved
from fullgraph.rows.gathering import gather
from fullgraph.rows.space import Space
from fullgraph.rows.table import entered_values, meaning, refuse
from fullgraph.rows.tensor import MEANINGS, Rows, functions_off, global_shape, local, rows

functions_on = torch._C._EnableTorchFunction


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
    if (global_shape(value) if isinstance(value, Rows) else value.shape) != global_shape(x):
        raise RuntimeError(if_unlike)
    if isinstance(value, Rows) and value._space == x._space and value._dim == x._dim:
        return value
    return rows(own_rows(value.detach(), x._space, x._dim), x._space, x._dim)


@meaning(
    """requires_grad= requires_grad_ retain_grad register_post_accumulate_grad_hook _post_accumulate_grad_hooks
    _backward_hooks= grad-del _grad-del _has_compatible_shallow_copy_type"""
)
def _of_own_rows(func: Any, args: Any, kwargs: Any) -> Any:
    return func(*args, **kwargs)


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


def _grads(
    outputs: Sequence[Tensor],
    inputs: Sequence[Any],
    grad_outputs: Tensor | Sequence[Tensor | None] | None = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    only_inputs: bool = True,
    allow_unused: bool | None = None,
    is_grads_batched: bool = False,
    materialize_grads: bool = False,
) -> tuple[Tensor | None, ...]:
    """``torch.autograd.grad`` with `Rows` among the outputs or inputs."""
    if is_grads_batched:
        refuse("torch.autograd.grad", "with is_grads_batched works on many gradients at once")
    unused = bool(allow_unused) or materialize_grads
    given = _run(outputs, grad_outputs, retain_graph, create_graph, inputs, unused, accumulate_grad=False)
    found = [as_rows(g, x._space, x._dim) if isinstance(x, Rows) else g for x, g in zip(inputs, given, strict=True)]
    if materialize_grads:
        found = [
            torch.zeros_like(x, requires_grad=create_graph) if g is None else g
            for x, g in zip(inputs, found, strict=True)
        ]
    return tuple(found)


def _backward(
    outputs: Tensor | Sequence[Tensor],
    gradient: Tensor | None = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    inputs: Any = None,
    *,
    grad_tensors: Tensor | Sequence[Tensor | None] | None = None,
) -> None:
    """``Tensor.backward`` and ``torch.autograd.backward`` with `Rows` among the outputs or inputs."""
    if inputs is not None:
        inputs = (
            [inputs]
            if isinstance(inputs, Tensor | GradientEdge)
            else list(inputs.values() if isinstance(inputs, dict) else inputs)
        )
        if not inputs:
            raise RuntimeError("`inputs` argument to `backward()` cannot be empty.")
    outputs = [outputs] if isinstance(outputs, Tensor) else outputs
    seeds = gradient if grad_tensors is None else grad_tensors
    _run(outputs, seeds, retain_graph, create_graph, inputs or (), True, accumulate_grad=True)


MEANINGS[torch.autograd.grad] = lambda func, args, kwargs: _grads(*args, **kwargs)
MEANINGS[torch.autograd.backward] = MEANINGS[Tensor.backward] = lambda func, args, kwargs: _backward(*args, **kwargs)


def _run(
    outputs: Sequence[Tensor],
    seeds: Any,
    retain_graph: bool | None,
    create_graph: bool,
    inputs: Sequence[Any],
    allow_unused: bool,
    *,
    accumulate_grad: bool,
) -> tuple[Tensor | None, ...]:
    """Autograd's own engine, from gradients of the global view. Torch functions are on while hooks run."""
    seeds = (seeds,) if isinstance(seeds, Tensor) else tuple(seeds or [None] * len(outputs))
    seeds = torch.autograd._make_grads(outputs, seeds, is_grads_batched=False)  # which looks at shapes as torch does
    plain = tuple(_seed(output, seed) for output, seed in zip(outputs, seeds, strict=True))
    retain = create_graph if retain_graph is None else retain_graph
    return _engine_run_backward(
        tuple(outputs), plain, retain, create_graph, tuple(inputs), allow_unused, accumulate_grad=accumulate_grad
    )


def _seed(output: Any, seed: Tensor | None) -> Tensor | None:
    if seed is None:
        return None
    return own_rows(seed, output._space, output._dim) if isinstance(output, Rows) else gather(seed)


# -- checkpoints


def _of_memory(x: Tensor) -> dict[str, Any]:
    """What a checkpoint compares of a tensor that is made again, whether or not it meets it as `Rows`."""
    with functions_off():
        return {"shape": x.shape, "dtype": x.dtype, "device": x.device}


checkpoint._allowed_determinism_checks_to_fns[checkpoint._DEFAULT_DETERMINISM_MODE] = _of_memory

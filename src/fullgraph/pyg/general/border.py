"""The border between the global view and the engine: inside there are plain tensors of this rank alone.

A layer's rule takes `Rows` apart when it hands them to the engine and puts them together again after. Parameters are
exchanged for aliases meanwhile, whose gradients are summed over ranks; so whatever runs a layer's code again in
backward finds the very tensors that it asks the gradients of.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.nn import Module
from torch.overrides import TorchFunctionMode

from fullgraph.pyg.data.streamed_rows import RowsOnDisk
from fullgraph.rows import LooksBeyondPiece, Rows, Space, View, local, rows
from fullgraph.rows.alignment import at_rows
from fullgraph.rows.calls import tensors_in
from fullgraph.rows.gradients import only_once
from fullgraph.rows.table import entered_values
from fullgraph.rows.tensor import functions_off

Aliases = list[tuple[dict[str, Any], str, Tensor]]
"""Where a parameter stands: in which module's dictionary, under which name; and what stands for it."""


def own(x: Any, space: Space, dim: int = 0) -> Tensor:
    """This rank's rows of ``x`` as a plain tensor that autograd follows, in the order of ``space``, or on disk.

    Raises:
        RuntimeError: if it has another number of rows.
    """
    if isinstance(x, RowsOnDisk):
        return x.at(space)
    if not isinstance(x, Rows) and x.requires_grad:
        (x,) = entered_values([x], space.view)
    with functions_off():
        return at_rows("a layer", x, space, dim)


def aliases_of(module: Module, view: View) -> Aliases:
    """An alias for each parameter below ``module`` that needs a gradient, entered into the view."""
    places = [
        (part._parameters, name)
        for part in module.modules()
        for name, parameter in part._parameters.items()
        if parameter is not None and parameter.requires_grad and not isinstance(parameter, Rows)
    ]
    parameters: list[Any] = [of[name] for of, name in places]
    values = entered_values(parameters, view)
    return [(of, name, value) for (of, name), value in zip(places, values, strict=True)]


@contextmanager
def standing_in(aliases: Aliases) -> Iterator[None]:
    """Within, each alias stands where its parameter does."""
    before = [of[name] for of, name, _ in aliases]
    for of, name, alias in aliases:
        of[name] = alias
    try:
        yield
    finally:
        for (of, name, _), parameter in zip(aliases, before, strict=True):
            of[name] = parameter


def inside(module: Module, view: View, run: Callable[[], Any]) -> Any:
    """``run()`` on plain tensors, with ``module``'s parameters entered into the view."""
    if view.is_alone or not torch.is_grad_enabled():
        return run()
    with standing_in(aliases_of(module, view)):
        return run()


class GivenOnly(TorchFunctionMode):
    """While messages run on a piece, whatever needs a gradient must be among what they were given.

    The engine makes gradients of what it gives, and of nothing else; what a message finds elsewhere would get none.
    """

    def __init__(self, given: list[Tensor]):
        super().__init__()
        self._given = {id(x) for x in given}
        self._held = given

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        for x in tensors_in((args, kwargs)):
            with functions_off():
                # torch says of a view of a leaf that it needs a gradient, even while none are recorded
                if x.requires_grad and id(x if x._base is None else x._base) not in self._given:
                    raise LooksBeyondPiece("its message reads a tensor that needs a gradient and is no argument of it")
        return func(*args, **(kwargs or {}))


def made(out: Tensor, space: Space, layer: Module) -> Rows:
    """What the engine gave ``layer`` for the rows of ``space``, rows first. It knows no second derivative."""
    only_once(out, layer._get_name())
    return rows(out, space)


def plain(value: Any) -> Any:
    """`Rows` as plain tensors of this rank, nested ones too."""
    if isinstance(value, Rows):
        return local(value)
    if isinstance(value, list | tuple):
        return type(value)(plain(entry) for entry in value)
    return value

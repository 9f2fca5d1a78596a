"""Lazily sized layers get their sizes before they run on rows, from a graph of two nodes.

A rule asks for a layer's parameters before the layer's own code is run, and enters them into the global view; a
parameter that gets its size in between would be missed. Sizes follow from numbers of columns, which any graph has.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import torch
from torch.nn import Module
from torch.nn.parameter import is_lazy

from fullgraph.pyg.data.edge_index import EdgeRows
from fullgraph.pyg.general.converted import Converted
from fullgraph.rows import Count, Rows

_NUM_ROWS = 2


def is_unsized(module: Module) -> bool:
    """Whether a parameter of it has no size yet."""
    return any(is_lazy(parameter) for parameter in module.parameters())


@cache
def unsized(rule: type[Converted]) -> type[Converted]:
    """The rule of a layer that has parameters without a size, until it is called the first time."""
    return type(rule.__name__, (_Unsized, rule), {"__module__": rule.__module__})  # pyright: ignore[reportReturnType]


class _Unsized(Converted):
    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if is_unsized(self):
            with torch.no_grad(), _same_buffers(self):
                super().__call__(*_tiny(args), **_tiny(kwargs))
            for parameter in self.parameters():
                if not isinstance(parameter, Rows) and not is_lazy(parameter):  # some may not be used at all
                    self.view.world.broadcast(parameter.detach())
        return super().__call__(*args, **kwargs)


@contextmanager
def _same_buffers(module: Module) -> Iterator[None]:
    before = [(buffer, buffer.clone()) for buffer in module.buffers() if not isinstance(buffer, Rows)]
    try:
        yield
    finally:
        for buffer, value in before:
            buffer.copy_(value)


def _tiny(value: Any) -> Any:
    """Arguments of the same columns and of two rows, which two edges connect."""
    if isinstance(value, EdgeRows):
        return torch.tensor([[0, 1], [1, 0]], device=value.device)
    if isinstance(value, Rows):
        shape = [_NUM_ROWS if isinstance(size, Count) else size for size in value.shape]
        return torch.zeros(shape, dtype=value.dtype, device=value.device)
    if isinstance(value, Count):
        return _NUM_ROWS
    if isinstance(value, list | tuple):
        return type(value)(_tiny(entry) for entry in value)
    if isinstance(value, dict):
        return {key: _tiny(entry) for key, entry in value.items()}
    return value

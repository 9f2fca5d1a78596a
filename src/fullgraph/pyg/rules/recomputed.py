"""Which functions of torch make rows that backward can make again, noted while a model runs (`engine.recompute`).

Layers note what they make themselves: a batch norm its output, dropout its own.
"""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode

from fullgraph.engine import Recipes

_IN_PLACE = {torch.relu_, Tensor.relu_}
_RELU = {F.relu, torch.relu, Tensor.relu} | _IN_PLACE
_ELEMENTWISE = _RELU | {
    F.elu,
    F.leaky_relu,
    F.gelu,
    F.silu,
    torch.tanh,
    Tensor.tanh,
    torch.sigmoid,
    Tensor.sigmoid,
}


class Recomputed(TorchFunctionMode):
    """While it is active, activations of noted rows are noted, and no function keeps noted rows."""

    def __init__(self, recipes: Recipes):
        super().__init__()
        self._recipes = recipes

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if func in _RELU and len(args) == 1:
            out = self._recipes.relu(args[0], overwrites=func in _IN_PLACE or kwargs.get("inplace", False))
            if out is not None:
                return out
        out = func(*args, **kwargs)
        if type(out) is Tensor and any(map(self._recipes.knows, args)):
            if func in _ELEMENTWISE and out is not args[0]:
                settings = args[1:]  # and not the rows themselves, which the note would keep
                self._recipes.note(out, args[0], lambda x, _: func(x, *settings, **kwargs), used_again=True)
            self._recipes.spare(out)
        return out

"""Linear layers anywhere in a model multiply by the faster of the products that torch has (`engine.linear`)."""

from collections.abc import Callable
from typing import Any

import torch.nn.functional as F
from torch.overrides import TorchFunctionMode

from fullgraph.engine import Recipes, linear


class Products(TorchFunctionMode):
    """While it is active, ``F.linear`` of plain tensors is the engine's."""

    def __init__(self, recipes: Recipes | None):
        super().__init__()
        self._recipes = recipes

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if func is F.linear and not types:
            return linear(*args, **kwargs, recipes=self._recipes)
        return func(*args, **kwargs)

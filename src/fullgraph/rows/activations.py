"""Activations: row-wise functions whose results backward can make again, noted while a model runs."""

from typing import Any

import torch
from torch import Tensor

from fullgraph.rows.once import only_once
from fullgraph.rows.pointwise import pointwise
from fullgraph.rows.table import meaning, name_of
from fullgraph.rows.tensor import Rows, rows


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
        with torch._C.DisableTorchFunctionSubclass():
            recipes.spare(out)
    return out

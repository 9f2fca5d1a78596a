"""Kernels whose backward knows no second derivative refuse to be asked for one.

Torch's ``once_differentiable`` only puts an error where a second backward would pass: one for chosen inputs passes by
it, and where the gradient is constant there is nothing to pass, so that a gradient penalty would silently lose a part.
"""

from functools import partial
from typing import Any

import torch
from torch import Tensor

from fullgraph.rows.table import refuse


def only_once(out: Tensor, name: str) -> None:
    """Refuse ``create_graph=True`` in the backward of the operation that made ``out``, the function ``name``."""
    if out.grad_fn is not None:
        out.grad_fn.register_prehook(partial(_refuse_again, name))


def _refuse_again(name: str, grads: Any) -> None:
    if torch.is_grad_enabled():
        refuse(name, "has no second derivative here, which create_graph=True asks for")

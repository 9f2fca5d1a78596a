"""How backward of an operation of ours is called: without a second derivative, and outside of the caller's autocast.

What forward saved has the dtypes that forward chose. Who calls ``loss.backward()`` under autocast, as one may, would
otherwise have products in backward cast once more.
"""

import functools
from collections.abc import Callable
from typing import Any

import torch
from torch.autograd.function import once_differentiable

from fullgraph.engine.backward.replay import DEVICES


def backward_once(function: Callable[..., Any]) -> Callable[..., Any]:
    """For ``backward(ctx, *grads)``: `once_differentiable`, with autocast off."""

    @functools.wraps(function)
    def uncast(ctx: Any, *grads: Any) -> Any:
        cast_on = [device for device in DEVICES if torch.is_autocast_enabled(device)]
        if not cast_on:
            return function(ctx, *grads)
        with torch.autocast(cast_on[0], enabled=False), torch.autocast(cast_on[-1], enabled=False):
            return function(ctx, *grads)

    return once_differentiable(uncast)

"""Ops look at plain tensors, many times each, and torch asks no mode and no subclass about it."""

import functools
from collections.abc import Callable
from typing import ParamSpec, TypeVar

import torch

P = ParamSpec("P")
R = TypeVar("R")


def plain(op: Callable[P, R]) -> Callable[P, R]:
    """An op that is not shown to what watches a program's functions (`torch.overrides`): half of a small model's time.

    Its ``__wrapped__`` is that of ``op``, if it has one.
    """

    @functools.wraps(op)
    def unwatched(*args: P.args, **kwargs: P.kwargs) -> R:
        with torch._C.DisableTorchFunction():
            return op(*args, **kwargs)

    unwatched.__wrapped__ = getattr(op, "__wrapped__", op)
    return unwatched

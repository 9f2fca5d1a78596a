"""What torch knows of an operation but keeps private: asked here alone, and safely where a version does not tell.

Without an answer more is kept in memory, and nothing is computed otherwise.
"""

from collections.abc import Callable
from functools import cache
from typing import Any

import torch


def are_saved_tensors_hooked() -> bool:
    """Whether somebody else decides what is saved for backward, such as `torch.utils.checkpoint`; True if unknown."""
    ask: Callable[[bool], Any] | None = getattr(torch._C._autograd, "_top_saved_tensors_default_hooks", None)  # pyright: ignore[reportAttributeAccessIssue]
    return ask is None or ask(False) is not None


def may_backward_run_again() -> bool:
    """Whether the backward that is running keeps its graph; True if unknown."""
    ask: Callable[[], bool] | None = getattr(torch._C._autograd, "_get_current_graph_task_keep_graph", None)  # pyright: ignore[reportAttributeAccessIssue]
    return ask is None or ask()


def saved_by(operation: Any) -> list[tuple[Any, Any]]:
    """The saved tensors of an operation, each as autograd's own object and as the tensor it stands for.

    Empty if unknown.
    """
    found: list[tuple[Any, Any]] = []
    for raw_name, name in _saved_names(type(operation)):
        raw, tensor = getattr(operation, raw_name), getattr(operation, name)
        found += zip(raw, tensor, strict=True) if isinstance(raw, tuple | list) else [(raw, tensor)]
    return found


@cache
def _saved_names(operation: type) -> tuple[tuple[str, str], ...]:
    raw = [name for name in dir(operation) if name.startswith("_raw_saved_")]
    # A function written in Python has all of them under one name.
    return tuple((name, "saved_tensors" if name == "_raw_saved_tensors" else name[4:]) for name in raw)

"""Says where a number that is not finite came from: a loss of NaN names no layer, and it may be one rank's alone."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves

from fullgraph.comm.world import World
from fullgraph.rows import Rows
from fullgraph.rows.tensor import local


@torch.no_grad()
def first_not_finite(model: torch.nn.Module, forward: Callable[[], Any], world: World) -> str:
    """Run ``forward`` once more and find the first module whose output is not finite on some rank. Collective.

    The caller has set the generators back, so that it draws what it drew.

    Returns:
        The module and the ranks in words, to end a sentence.
    """
    found: list[tuple[int, str]] = []
    calls = 0

    def look(name: str) -> Callable[..., None]:
        def hook(module: torch.nn.Module, inputs: Any, output: Any) -> None:
            nonlocal calls
            calls += 1
            if not found and not all(_is_finite(each) for each in tree_leaves(output)):
                found.append((calls, f"{name} ({type(module).__name__})"))

        return hook

    hooks = [module.register_forward_hook(look(name)) for name, module in model.named_modules() if name]
    try:
        forward()
    finally:
        for each in hooks:
            each.remove()
    of_ranks = world.gather_objects(found[0] if found else None)
    earliest = min((each for each in of_ranks if each is not None), default=None)
    if earliest is None:
        return "every layer's output is finite, so it is the loss itself"
    ranks = [str(rank) for rank, each in enumerate(of_ranks) if each == earliest]
    return f"the first output that is not finite is that of layer {earliest[1]}, on rank {', '.join(ranks)}"


def not_finite_gradient(model: torch.nn.Module) -> str | None:
    """The first parameter whose gradient is not finite, of those that are the same on all ranks."""
    for name, parameter in model.named_parameters():
        if parameter.grad is not None and not isinstance(parameter, Rows) and not _is_finite(parameter.grad):
            return name
    return None


def _is_finite(value: Any) -> bool:
    if not isinstance(value, Tensor) or not value.is_floating_point():
        return True
    own = local(value) if isinstance(value, Rows) else value
    return bool(own.isfinite().all())

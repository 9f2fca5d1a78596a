"""The ways a layer can run on a partitioned graph, and what in its configuration rules the sequential ones out.

A way is chosen from a layer's class and configuration alone, never from a rank's data, so that all ranks agree and
`fullgraph.explain` can say it before anything runs.
"""

from dataclasses import dataclass
from enum import Enum
from typing import Any

import torch
import torch_geometric.nn as pyg
from torch.nn.modules.module import _has_any_global_hook
from torch_geometric.nn import MessagePassing

from fullgraph.rows import Rows

_HOOKS = (
    "_propagate_forward_pre_hooks",
    "_propagate_forward_hooks",
    "_message_forward_pre_hooks",
    "_message_forward_hooks",
    "_aggregate_forward_pre_hooks",
    "_aggregate_forward_hooks",
    "_message_and_aggregate_forward_pre_hooks",
    "_message_and_aggregate_forward_hooks",
    "_edge_update_forward_pre_hooks",
    "_edge_update_forward_hooks",
)
_MODULE_HOOKS = ("_forward_pre_hooks", "_forward_hooks", "_backward_pre_hooks", "_backward_hooks")


class Way(Enum):
    """How a layer gets at the rows of other ranks."""

    WALK = "walk"
    BLOCKS = "block by block"
    NEIGHBOURHOODS = "by neighbourhood"
    AT_ONCE = "all at once"


@dataclass(frozen=True)
class Choice:
    """A way, and the reason for it."""

    way: Way
    why: str


def why_not_sequential(conv: MessagePassing) -> str | None:
    """What in a layer's configuration needs PyG's own ``propagate``, on all rows at once; None if nothing does."""
    if conv.flow != "source_to_target":
        return "it passes messages from targets to sources"
    if conv.explain:
        return "it is being explained"
    if any(getattr(conv, hooks) for hooks in _HOOKS):
        return "it has hooks on its messages"
    return None


def can_walk(conv: MessagePassing, edge_index: Any) -> bool:
    """Whether the engine may take ``conv.propagate`` over, on this index."""
    is_index = isinstance(edge_index, Rows) and edge_index.dtype == torch.int64 and edge_index.dim() == 2
    return is_index and why_not_sequential(conv) is None


def is_plain_linear(module: Any) -> bool:
    """Whether a module is just the matrix and the bias it holds, so that these may be used without calling it."""
    return type(module) in (pyg.Linear, torch.nn.Linear) and not has_hooks(module)


def has_hooks(module: torch.nn.Module) -> bool:
    """Whether somebody wants to know when a module is called."""
    return bool(_has_any_global_hook()) or any(getattr(module, hooks) for hooks in _MODULE_HOOKS)


def weights_wanted(value: Any) -> bool:
    """Whether a layer was asked to return its attention weights: PyG looks for any bool, False included."""
    return isinstance(value, bool)

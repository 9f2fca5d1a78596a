"""A pruned graph's ``edge_index``, as a model is given it: opaque, since it stands for other edges in each layer."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from fullgraph.errors import UnsupportedOperation
from fullgraph.pyg.index import RemoteIndex, RemoteTensor
from fullgraph.pyg.levels import Levels


class PrunedIndex(RemoteTensor):
    """The whole graph's in-edges of this rank, int64 ``[2, num_edges]``, of which each layer walks over some.

    Attributes:
        whole: all edges; self-loops, degrees and norms are computed on them.
        levels: which rows every layer reads and computes.
        batch_norm: ``refuse`` or ``computed``, see ``fullgraph.prune``.
    """

    whole: RemoteIndex
    levels: Levels
    batch_norm: str

    @staticmethod
    def of(whole: RemoteIndex, levels: Levels, batch_norm: str) -> "PrunedIndex":
        """Wrap the edges of a graph with what is to be computed of it."""
        index = torch.Tensor._make_subclass(PrunedIndex, whole.plain)
        index.relation, index.whole, index.levels, index.batch_norm = whole.relation, whole, levels, batch_norm
        return index

    @classmethod
    def __torch_function__(
        cls, func: Callable[..., Any], types: Sequence[type], args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        from fullgraph.pyg.index_operations import ITSELF, STRUCTURE  # which knows these classes

        with torch._C.DisableTorchFunctionSubclass():
            if func in STRUCTURE:
                return func(*args, **(kwargs or {}))
            if func in ITSELF:
                return args[0]
        raise UnsupportedOperation(
            "the edge_index of a pruned graph stands for other edges in each layer, so only layers that walk can read "
            "it, within a call of the prepared model that has it among its arguments (see docs/pruning.md); for "
            f"anything else use the graph that was pruned: {torch.overrides.resolve_name(func) or func.__name__}"
        )

    @property
    def plain(self) -> Tensor:
        """The whole graph's edges as an ordinary tensor."""
        return self.whole.plain

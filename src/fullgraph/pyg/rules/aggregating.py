"""Layers whose message is the source row, weighted or not: their propagation is a walk of the engine.

GCNConv, SAGEConv, GINConv and GraphConv differ in what they do before and after, which stays their own code. What a
walk cannot take (another aggregation, hooks on messages, a flipped graph) goes through PyG's own ``propagate`` over the
remote-aware index, with all boundary rows at once and the same result.
"""

from typing import Any

import torch
import torch_geometric.nn as pyg
from torch import Tensor
from torch_geometric.nn.aggr import MaxAggregation, MeanAggregation, MinAggregation, SumAggregation
from torch_geometric.nn.conv.gcn_conv import gcn_norm
from torch_geometric.utils import add_remaining_self_loops

from fullgraph.engine import extremum_neighbours, mean_neighbours, sum_neighbours
from fullgraph.pyg.index import RemoteIndex
from fullgraph.pyg.rules.converted import Converted

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


def can_walk(conv: pyg.MessagePassing, edge_index: Any) -> bool:
    """Whether the engine's walks give what ``conv.propagate`` would, on this index."""
    return (
        isinstance(edge_index, RemoteIndex)
        and edge_index.remote_row == 0
        and conv.flow == "source_to_target"
        and not conv.explain
        and not any(getattr(conv, hooks) for hooks in _HOOKS)
    )


class _Aggregating(Converted, pyg.MessagePassing):
    def walked_index(self, edge_index: RemoteIndex) -> RemoteIndex:
        return edge_index

    def propagate(self, edge_index: Any, size: Any = None, **kwargs: Any) -> Tensor:
        x = kwargs["x"]
        x_src = x if isinstance(x, Tensor) else x[0]
        weight = kwargs.get("edge_weight")
        aggregation = type(self.aggr_module)
        if can_walk(self, edge_index) and x_src.dim() == 2 and len(x_src) == edge_index.graph.num_own:
            if weight is not None:
                # A view is another tensor, for which constant weights would be sent again.
                weight = (weight if weight.dim() == 1 else weight.view(-1)).to(x_src.dtype)
            if aggregation is SumAggregation:
                return sum_neighbours(x_src, edge_index.plan, weight)
            if aggregation is MeanAggregation:
                return mean_neighbours(x_src, edge_index.plan, weight)
            if aggregation in (MaxAggregation, MinAggregation) and weight is None:
                return extremum_neighbours(x_src, edge_index.plan, largest=aggregation is MaxAggregation)
        return super().propagate(edge_index, size=size, **kwargs)


class SAGEConv(_Aggregating, pyg.SAGEConv):
    """Hamilton 2017; mean, sum, max and min walk."""


class GINConv(_Aggregating, pyg.GINConv):
    """Xu 2019, eq. 4.1."""


class GraphConv(_Aggregating, pyg.GraphConv):
    """Morris 2019; edge weights may need gradients."""


class GCNConv(_Aggregating, pyg.GCNConv):
    """Kipf & Welling 2017, eq. 2. The normalised weights of a constant graph are computed once."""

    def walked_index(self, edge_index: RemoteIndex) -> RemoteIndex:
        return edge_index.with_self_loops if self.normalize and self.add_self_loops else edge_index

    def forward(self, x: Tensor, edge_index: Any, edge_weight: Tensor | None = None) -> Tensor:
        if not can_walk(self, edge_index) or isinstance(x, tuple | list):
            return super().forward(x, edge_index, edge_weight)
        if self.normalize:
            edge_index, edge_weight = _normalised(self, edge_index, edge_weight, x.dtype)
        out = self.propagate(edge_index, x=self.lin(x), edge_weight=edge_weight)
        return out if self.bias is None else out + self.bias  # pyright: ignore[reportReturnType]


def _normalised(
    conv: pyg.GCNConv, index: RemoteIndex, weight: Tensor | None, dtype: torch.dtype
) -> tuple[RemoteIndex, Tensor]:
    """PyG's ``gcn_norm`` on an index whose self-loops are added once: degrees are global because in-edges are local."""
    walked = index.with_self_loops if conv.add_self_loops else index
    num_own = index.graph.num_own

    def compute() -> Tensor:
        given = weight
        if weight is not None and conv.add_self_loops:
            fill = 2.0 if conv.improved else 1.0
            _, given = add_remaining_self_loops(index.plain, weight, fill, num_own)
        return gcn_norm(walked, given, num_own, conv.improved, add_self_loops=False, flow=conv.flow, dtype=dtype)[1]  # pyright: ignore[reportReturnType]

    return walked, index.constant(("gcn_norm", conv.improved, conv.add_self_loops, dtype), weight, compute)

"""Layers whose message is the source row, weighted or not: their propagation is a walk of the engine.

They differ in what they do before and after, which stays their own code. What a walk cannot take (another aggregation)
runs on complete neighbourhoods like any other layer, with the same result.
"""

import inspect
from functools import cache
from typing import Any

import torch
import torch_geometric.nn as pyg
from torch import Tensor
from torch_geometric.nn.aggr import MaxAggregation, MeanAggregation, MinAggregation, SumAggregation
from torch_geometric.nn.conv.gcn_conv import gcn_norm
from torch_geometric.utils import add_remaining_self_loops

from fullgraph.engine import extremum_neighbours, mean_neighbours, sum_neighbours
from fullgraph.pyg.index import RemoteIndex
from fullgraph.pyg.rules.any_layer import ByNeighbourhood
from fullgraph.pyg.rules.converted import Converted, original_class
from fullgraph.pyg.rules.ways import Choice, Way, by_rows, can_walk, why_not_sequential

# Layers whose `message` is ``x_j`` or ``weight * x_j``, and whose `update` changes nothing, under any configuration.
LINEAR: tuple[type[pyg.MessagePassing], ...] = (
    pyg.SimpleConv,
    pyg.ChebConv,
    pyg.GatedGraphConv,
    pyg.TAGConv,
    pyg.ARMAConv,
    pyg.SGConv,
    pyg.SSGConv,
    pyg.APPNP,
    pyg.MFConv,
    pyg.RGCNConv,
    pyg.SignedConv,
    pyg.ClusterGCNConv,
    pyg.GCN2Conv,
    pyg.WLConvContinuous,
    pyg.PDNConv,
    pyg.LGConv,
    pyg.MixHopConv,
)
_WEIGHTS = ("edge_weight", "norm")
_NAMES = {SumAggregation: "sum", MeanAggregation: "mean", MaxAggregation: "max", MinAggregation: "min"}


class _Aggregating(ByNeighbourhood):
    def choice(self) -> Choice:
        name = _NAMES.get(type(self.aggr_module))
        if name is None or why_not_sequential(self) is not None:
            return super().choice()
        takes_weights = "edge_weight" in inspect.signature(original_class(type(self)).forward).parameters  # pyright: ignore[reportAttributeAccessIssue]
        otherwise = "; with edge weights by neighbourhood" if name in ("max", "min") and takes_weights else ""
        return Choice(Way.WALK, f"{name} of source rows{otherwise}")

    def propagate(self, edge_index: Any, size: Any = None, **kwargs: Any) -> Tensor:
        given = {name: value for name, value in kwargs.items() if value is not None}
        x = given.pop("x", None)
        weight = next((given.pop(name) for name in _WEIGHTS if name in given), None)
        x_src = by_rows(x[0] if isinstance(x, tuple | list) else x, self)
        if not given and x_src is not None and can_walk(self, edge_index) and len(x_src) == edge_index.graph.num_own:
            out = self._walk(x_src, edge_index, weight)
            if out is not None:
                return out.movedim(0, self.node_dim)
        return super().propagate(edge_index, size=size, **kwargs)

    def _walk(self, x: Tensor, edge_index: RemoteIndex, weight: Tensor | None) -> Tensor | None:
        aggregation = type(self.aggr_module)
        if weight is not None:
            # A view is another tensor, for which constant weights would be sent again.
            weight = (weight if weight.dim() == 1 else weight.view(-1)).to(x.dtype)
        if aggregation is SumAggregation:
            return sum_neighbours(x, edge_index.plan, weight)
        if aggregation is MeanAggregation:
            return mean_neighbours(x, edge_index.plan, weight)
        if aggregation in (MaxAggregation, MinAggregation) and weight is None and x.dim() == 2:
            return extremum_neighbours(x, edge_index.plan, largest=aggregation is MaxAggregation)
        return None


@cache
def linear(layer: type) -> type[Converted]:
    """The rule of one of `LINEAR`, whose ``forward`` needs no change."""
    return type(layer.__name__, (_Aggregating, layer), {"__module__": __name__})  # pyright: ignore[reportReturnType]


class _OverGivenEdges(_Aggregating):
    def walked_index(self, edge_index: RemoteIndex) -> RemoteIndex | None:
        return edge_index if self.choice().way is Way.WALK else None


class SAGEConv(_OverGivenEdges, pyg.SAGEConv):
    """Hamilton 2017; mean, sum, max and min walk."""


class GINConv(_OverGivenEdges, pyg.GINConv):
    """Xu 2019, eq. 4.1."""


class GraphConv(_OverGivenEdges, pyg.GraphConv):
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

"""Layers whose message is the source row, weighted or not: their propagation is a walk of the engine.

They differ in what they do before and after, which stays their own code, but for the order of a sum and a linear layer
around it. What such a walk cannot take (another aggregation) runs like any other layer, with the same
result.
"""

import inspect
from functools import cache
from typing import Any

import torch
import torch.nn.functional as F
import torch_geometric.nn as pyg
from torch import Tensor
from torch_geometric.nn.aggr import MaxAggregation, MeanAggregation, MinAggregation, SumAggregation
from torch_geometric.nn.conv.gcn_conv import gcn_norm
from torch_geometric.utils import add_remaining_self_loops

from fullgraph.engine import Reduction, extremum_neighbours, linear_sum, sum_neighbours
from fullgraph.pyg.index import RemoteIndex
from fullgraph.pyg.levels import LevelIndex
from fullgraph.pyg.rules.any_layer import AnyLayer
from fullgraph.pyg.rules.converted import Converted, original_class
from fullgraph.pyg.rules.pruned import Prunable
from fullgraph.pyg.rules.ways import Choice, Way, by_rows, can_walk, is_plain_linear, why_not_sequential

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
    pyg.SignedConv,
    pyg.ClusterGCNConv,
    pyg.GCN2Conv,
    pyg.WLConvContinuous,
    pyg.PDNConv,
    pyg.LGConv,
    pyg.MixHopConv,
)
# Of these, the ones that return the sum itself or change it in place: theirs must be a copy of a remembered one.
_GIVE_AWAY = (pyg.SimpleConv, pyg.LGConv, pyg.GCN2Conv)
_WEIGHTS = ("edge_weight", "norm")
_REDUCTIONS: dict[type, Reduction] = {SumAggregation: "sum", MeanAggregation: "mean"}
_NAMES = {SumAggregation: "sum", MeanAggregation: "mean", MaxAggregation: "max", MinAggregation: "min"}


class Aggregating(AnyLayer):
    """A layer whose message is the source row, perhaps times a weight."""

    def choice(self) -> Choice:
        name = _NAMES.get(type(self.aggr_module))
        if name is None or why_not_sequential(self) is not None:
            return super().choice()
        takes_weights = "edge_weight" in inspect.signature(original_class(type(self)).forward).parameters  # pyright: ignore[reportAttributeAccessIssue]
        otherwise = "; with edge weights block by block" if name in ("max", "min") and takes_weights else ""
        return Choice(Way.WALK, f"{name} of source rows{otherwise}")

    @property
    def forms_sums(self) -> bool:
        return type(self.aggr_module) in _REDUCTIONS

    def propagate(self, edge_index: Any, size: Any = None, **kwargs: Any) -> Tensor:
        given = {name: value for name, value in kwargs.items() if value is not None}
        x = given.pop("x", None)
        weight = next((given.pop(name) for name in _WEIGHTS if name in given), None)
        x_src = by_rows(x[0] if isinstance(x, tuple | list) else x, self)
        if not given and x_src is not None and can_walk(self, edge_index) and len(x_src) == edge_index.relation.num_src:
            out = self._walk(x_src, edge_index, weight)
            if out is not None:
                return out.movedim(0, self.node_dim)
        return super().propagate(edge_index, size=size, **kwargs)

    def _walk(self, x: Tensor, edge_index: RemoteIndex, weight: Tensor | None) -> Tensor | None:
        aggregation, out = type(self.aggr_module), None
        if aggregation in _REDUCTIONS:
            out = sum_neighbours(x, edge_index.plan, _flat(weight, x), reduction=_REDUCTIONS[aggregation])
        elif aggregation in (MaxAggregation, MinAggregation) and weight is None and x.dim() == 2:
            out = extremum_neighbours(x, edge_index.plan, largest=aggregation is MaxAggregation)
        if out is not None and self.rank_graph.recipes is not None:
            self.rank_graph.recipes.spare(out)
        return out.clone() if out is not None and not out.requires_grad and isinstance(self, _GIVE_AWAY) else out

    def _projected_sum(
        self,
        linear: Any,
        x: Any,
        edge_index: Any,
        weight: Tensor | None = None,
        *,
        bias: Tensor | None,
        root: Any = None,
        x_dst: Tensor | None = None,
    ) -> Tensor | None:
        """``linear`` with another bias of the aggregated rows, in the order that sends less, and ``root(x_dst)``.

        None if that may not be.
        """
        aggregation = type(self.aggr_module)
        may = aggregation in _REDUCTIONS and can_walk(self, edge_index) and "propagate" not in self.__dict__
        if not may or not is_plain_linear(linear) or not isinstance(x, Tensor) or x.dim() != 2 or self.node_dim != -2:
            return None
        if len(x) != edge_index.relation.num_src:
            return None
        given, reduction = (x, linear.weight, edge_index.plan, _flat(weight, x)), _REDUCTIONS[aggregation]
        more: dict[str, Any] = {"reduction": reduction, "bias": bias, "recipes": self.rank_graph.recipes}
        if root is None or x_dst is None:
            return linear_sum(*given, **more)
        if x_dst is x and is_plain_linear(root) and root.bias is None:
            return linear_sum(*given, **more, root=root.weight)
        out = linear_sum(*given, **more)
        out += root(x_dst)  # no operation needs what it was
        return out


def _flat(weight: Tensor | None, x: Tensor) -> Tensor | None:
    """A number per edge of x's dtype."""
    if weight is None:
        return None
    # A view is another tensor, for which constant weights would be sent again.
    return (weight if weight.dim() == 1 else weight.view(-1)).to(x.dtype)


@cache
def linear(layer: type) -> type[Converted]:
    """The rule of one of `LINEAR`, whose ``forward`` needs no change."""
    return type(layer.__name__, (Aggregating, layer), {"__module__": __name__})  # pyright: ignore[reportReturnType]


class _SomeRows(Prunable, Aggregating):
    """One walk, of which some rows can be computed alone."""


class _OverGivenEdges(_SomeRows):
    def walked_index(self, edge_index: RemoteIndex) -> RemoteIndex | None:
        return edge_index if self.choice().way is Way.WALK else None


class SAGEConv(_OverGivenEdges, pyg.SAGEConv):
    """Hamilton 2017; mean, sum, max and min walk."""

    def forward(self, x: Any, edge_index: Any, size: Any = None) -> Tensor:
        x_src, x_dst = (x, x) if isinstance(x, Tensor) else x
        if self.project:
            x_src = self.lin(x_src).relu()
        root = self.lin_r if self.root_weight else None
        out = self._projected_sum(self.lin_l, x_src, edge_index, bias=self.lin_l.bias, root=root, x_dst=x_dst)
        if out is None:
            out = self.lin_l(self.propagate(edge_index, x=(x_src, x_dst), size=size))
            if root is not None and x_dst is not None:
                out = out + root(x_dst)
        return F.normalize(out, p=2.0, dim=-1) if self.normalize else out


class GINConv(_OverGivenEdges, pyg.GINConv):
    """Xu 2019, eq. 4.1."""


class GraphConv(_OverGivenEdges, pyg.GraphConv):
    """Morris 2019; edge weights may need gradients."""

    def forward(self, x: Any, edge_index: Any, edge_weight: Tensor | None = None, size: Any = None) -> Tensor:
        x_src, x_dst = (x, x) if isinstance(x, Tensor) else x
        more = {"bias": self.lin_rel.bias, "root": self.lin_root, "x_dst": x_dst}
        out = self._projected_sum(self.lin_rel, x_src, edge_index, edge_weight, **more)
        if out is not None:
            return out
        out = self.lin_rel(self.propagate(edge_index, x=(x_src, x_dst), edge_weight=edge_weight, size=size))
        return out if x_dst is None else out + self.lin_root(x_dst)


class GCNConv(_SomeRows, pyg.GCNConv):
    """Kipf & Welling 2017, eq. 2. The normalised weights of a constant graph are computed once."""

    takes_pairs = False

    def on_whole_graph(self, x: Tensor, edge_index: RemoteIndex, values: Tensor | None) -> tuple[RemoteIndex, Any]:
        return _normalised(self, edge_index, values, x.dtype) if self.normalize else (edge_index, values)

    def why_not_pruned(self, given: dict[str, Any]) -> str | None:
        is_sum = type(self.aggr_module) in _REDUCTIONS
        return super().why_not_pruned(given) or (None if is_sum else "its aggregation is neither a sum nor a mean")

    def walked_index(self, edge_index: RemoteIndex) -> RemoteIndex:
        adds = self.normalize and self.add_self_loops and not isinstance(edge_index, LevelIndex)
        return edge_index.with_self_loops if adds else edge_index

    def forward(self, x: Tensor, edge_index: Any, edge_weight: Tensor | None = None) -> Tensor:
        if not can_walk(self, edge_index) or isinstance(x, tuple | list):
            return super().forward(x, edge_index, edge_weight)
        if self.normalize and not isinstance(edge_index, LevelIndex):
            edge_index, edge_weight = _normalised(self, edge_index, edge_weight, x.dtype)
        out = self._projected_sum(self.lin, x, edge_index, edge_weight, bias=self.bias)
        if out is not None:
            return out
        out = self.propagate(edge_index, x=self.lin(x), edge_weight=edge_weight)
        return out if self.bias is None else out + self.bias  # pyright: ignore[reportReturnType]


def _normalised(
    conv: pyg.GCNConv, index: RemoteIndex, weight: Tensor | None, dtype: torch.dtype
) -> tuple[RemoteIndex, Tensor]:
    """PyG's ``gcn_norm`` on an index whose self-loops are added once: degrees are global because in-edges are local."""
    walked = index.with_self_loops if conv.add_self_loops else index
    num_own = index.relation.num_dst

    def compute() -> Tensor:
        given = weight
        if weight is not None and conv.add_self_loops:
            fill = 2.0 if conv.improved else 1.0
            _, given = add_remaining_self_loops(index.plain, weight, fill, num_own)
        return gcn_norm(walked, given, num_own, conv.improved, add_self_loops=False, flow=conv.flow, dtype=dtype)[1]  # pyright: ignore[reportReturnType]

    return walked, index.constant(("gcn_norm", conv.improved, conv.add_self_loops, dtype), weight, compute)

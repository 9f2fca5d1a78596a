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
from fullgraph.pyg.data.edge_index import EdgeRows
from fullgraph.pyg.data.edges import Edges
from fullgraph.pyg.data.streamed_rows import with_space
from fullgraph.pyg.general.any_layer import AnyLayer, edges_between
from fullgraph.pyg.general.border import aliases_of, made, own, standing_in
from fullgraph.pyg.general.choice import Choice, Way, can_walk, is_plain_linear, why_not_sequential
from fullgraph.pyg.general.converted import Converted, original_class
from fullgraph.pyg.pruning.layers import Prunable
from fullgraph.rows import Rows

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

    def propagate(self, edge_index: Any, size: Any = None, **kwargs: Any) -> Any:
        given = {name: value for name, value in kwargs.items() if value is not None}
        x = given.pop("x", None)
        weight = next((given.pop(name) for name in _WEIGHTS if name in given), None)
        x_src = x[0] if isinstance(x, tuple | list) else x
        walks = not given and can_walk(self, edge_index)
        if walks and isinstance(x_src, Rows) and x_src.is_floating_point() and x_src.dim() > 1:
            edges = edges_between(edge_index, kwargs, size)
            if edges is not None and x_src._dim == self.node_dim % x_src.dim():
                out = self._walk(own(x_src, edges.src_space, x_src._dim).movedim(x_src._dim, 0), edges, weight)
                if out is not None:
                    return with_space(out, edges.dst_space).movedim(0, self.node_dim)
        return super().propagate(edge_index, size=size, **kwargs)

    def _walk(self, x: Tensor, edges: Edges, weight: Tensor | None) -> Tensor | None:
        aggregation, out = type(self.aggr_module), None
        if aggregation in _REDUCTIONS:
            out = sum_neighbours(x, edges.plan, _flat(weight, edges), reduction=_REDUCTIONS[aggregation])
        elif aggregation in (MaxAggregation, MinAggregation) and weight is None and x.dim() == 2:
            out = extremum_neighbours(x, edges.plan, largest=aggregation is MaxAggregation)
        if out is not None and self.view.recipes is not None:
            self.view.recipes.spare(out)
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

        ``bias`` is a parameter of the layer's. None if that may not be.
        """
        aggregation = type(self.aggr_module)
        may = aggregation in _REDUCTIONS and can_walk(self, edge_index) and "propagate" not in self.__dict__
        if not may or not is_plain_linear(linear) or not isinstance(x, Tensor) or x.dim() != 2 or self.node_dim != -2:
            return None
        dst = x if x_dst is None else x_dst
        if not (isinstance(x, Rows) and isinstance(dst, Rows) and x._dim == dst._dim == 0):
            return None
        edges = edges_between(edge_index, {"x": (x, dst)})
        if edges is None:
            return None
        x_own = own(x, edges.src_space)
        is_same = x_dst is x and edges.is_square
        aliases = aliases_of(self, edges.view)
        place_of_bias = [name for name, parameter in self.named_parameters() if parameter is bias]
        with standing_in(aliases):
            if place_of_bias:
                bias = _parameter(self, place_of_bias[0])
            root = None if x_dst is None else root
            joins = root is not None and is_same and is_plain_linear(root) and root.bias is None
            out = linear_sum(
                x_own,
                linear.weight,
                edges.plan,
                _flat(weight, edges),
                reduction=_REDUCTIONS[aggregation],
                root=root.weight if root is not None and joins else None,
                bias=bias,
                recipes=self.view.recipes,
            )
            if root is not None and not joins:  # no operation needs what it was
                out += root(x_own if is_same else own(x_dst, edges.dst_space))
        return made(out, edges.dst_space, self)


def _parameter(module: Any, name: str) -> Tensor:
    """What stands where the parameter of this name does."""
    for part in name.split("."):
        module = getattr(module, part)
    return module


def _flat(weight: Tensor | None, edges: Edges) -> Tensor | None:
    """A number per edge, this rank's."""
    if weight is None:
        return None
    weight = own(weight, edges.space)
    # A view is another tensor, for which constant weights would be sent again.
    return weight if weight.dim() == 1 else weight.view(-1)


@cache
def linear(layer: type) -> type[Converted]:
    """The rule of one of `LINEAR`, whose ``forward`` needs no change."""
    return type(layer.__name__, (Aggregating, layer), {"__module__": __name__})  # pyright: ignore[reportReturnType]


class _OverGivenEdges(Prunable, Aggregating):
    def walked_edges(self, edges: Edges) -> Edges | None:
        return edges if self.choice().way is Way.WALK else None

    def _linear_and_root(self, lin: Any, root: Any, ends: Any, edge_index: Any, size: Any, **weight: Any) -> Tensor:
        """``lin`` of the aggregated rows, and ``root`` of the row itself; either order of sum and ``lin`` will do."""
        x_src, x_dst = ends
        if x_dst is not None:  # else `propagate` asks how many destinations there are
            out = self._projected_sum(lin, x_src, edge_index, *weight.values(), bias=lin.bias, root=root, x_dst=x_dst)
            if out is not None:
                return out
        out = lin(self.propagate(edge_index, x=(x_src, x_dst), size=size, **weight))
        return out if root is None or x_dst is None else out + root(x_dst)


class SAGEConv(_OverGivenEdges, pyg.SAGEConv):
    """Hamilton 2017; mean, sum, max and min walk."""

    def forward(self, x: Any, edge_index: Any, size: Any = None) -> Tensor:
        x_src, x_dst = (x, x) if isinstance(x, Tensor) else x
        if self.project:
            x_src = self.lin(x_src).relu()
        root = self.lin_r if self.root_weight else None
        out = self._linear_and_root(self.lin_l, root, (x_src, x_dst), edge_index, size)
        return F.normalize(out, p=2.0, dim=-1) if self.normalize else out


class GINConv(_OverGivenEdges, pyg.GINConv):
    """Xu 2019, eq. 4.1."""


class GraphConv(_OverGivenEdges, pyg.GraphConv):
    """Morris 2019; edge weights may need gradients."""

    def forward(self, x: Any, edge_index: Any, edge_weight: Tensor | None = None, size: Any = None) -> Tensor:
        ends = (x, x) if isinstance(x, Tensor) else x
        return self._linear_and_root(self.lin_rel, self.lin_root, ends, edge_index, size, edge_weight=edge_weight)


class GCNConv(Prunable, Aggregating, pyg.GCNConv):  # pyright: ignore[reportIncompatibleMethodOverride]
    """Kipf & Welling 2017, eq. 2. The normalised weights of a constant graph are computed once."""

    prepares, takes_pairs, has_weights = "normalize", False, True

    def on_whole_graph(self, x: Rows, edges: Edges, values: Tensor | None) -> tuple[Edges, Tensor | None]:
        if not self.normalize:
            return edges, values
        walked, weight = _normalised(self, x, EdgeRows.of(edges), values)
        return walked.walked, weight

    def walked_edges(self, edges: Edges) -> Edges | None:
        if self.choice().way is not Way.WALK:
            return None
        return edges.with_self_loops if self.normalize and self.add_self_loops else edges

    def forward(self, x: Tensor, edge_index: Any, edge_weight: Tensor | None = None) -> Tensor:
        if not can_walk(self, edge_index) or not isinstance(x, Rows) or x.dim() != 2 or self.cached:
            return super().forward(x, edge_index, edge_weight)
        if self.normalize:
            edge_index, edge_weight = _normalised(self, x, edge_index, edge_weight)
        joins = not torch.is_autocast_enabled(x.device.type)  # which makes products narrow, and not what is added later
        out = self._projected_sum(self.lin, x, edge_index, edge_weight, bias=self.bias if joins else None)
        if out is not None and joins:
            return out
        if out is None:
            out = self.propagate(edge_index, x=self.lin(x), edge_weight=edge_weight)
        return out if self.bias is None else out + self.bias  # pyright: ignore[reportReturnType]


def _normalised(conv: pyg.GCNConv, x: Rows, edge_index: Any, weight: Tensor | None) -> tuple[EdgeRows, Tensor]:
    """PyG's ``gcn_norm`` on edges whose self-loops are added once."""
    edges = edges_between(edge_index, {"x": x})
    assert edges is not None
    num_nodes, dtype = edges.dst_space.count, x.dtype
    walked = edges.with_self_loops if conv.add_self_loops else edges

    def compute() -> Tensor:
        given = weight
        if weight is not None and conv.add_self_loops:
            fill = 2.0 if conv.improved else 1.0
            _, given = add_remaining_self_loops(EdgeRows.of(edges.unread()), weight, fill, num_nodes)
        return gcn_norm(
            EdgeRows.of(walked.unread()),
            given,
            num_nodes,
            conv.improved,
            add_self_loops=False,
            flow=conv.flow,
            dtype=dtype,
        )[1]  # pyright: ignore[reportReturnType]

    name = ("gcn_norm", conv.improved, conv.add_self_loops, dtype)
    return EdgeRows.of(walked), edges.constant(name, weight, compute)

"""Aggregation modules that read out a graph: all its rows become one, though they lie on several ranks.

The same modules aggregate messages inside a layer, where all edges of a destination are on one rank and nothing has to
change. So only those outside of any layer become readouts, and a readout looks at what it is given: an entry per owned
node leads to a result per graph, the same on all ranks; a result per owned node stays with its rank.
"""

from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch_geometric.nn import aggr

from fullgraph.engine import Groups
from fullgraph.errors import UnsupportedOperation
from fullgraph.pyg.rules.converted import Converted, original_class
from fullgraph.pyg.rules.ways import Choice, Way

# Those whose own code only ever calls `reduce`.
_BY_REDUCE = {
    aggr.SumAggregation,
    aggr.MeanAggregation,
    aggr.MaxAggregation,
    aggr.MinAggregation,
    aggr.VarAggregation,
    aggr.StdAggregation,
    aggr.PowerMeanAggregation,
}


class _Readout(Converted, aggr.Aggregation):
    """Mixed in front of an aggregation that belongs to no layer.

    Attributes:
        groups: the graphs of the rows, while it reads out.
    """

    groups: Groups | None = None

    def choice(self) -> Choice:
        """Row-wise."""
        return Choice(Way.ROW_WISE, "sums and maxima of all ranks, where it reads out a graph")

    def __call__(
        self,
        x: Tensor,
        index: Tensor | None = None,
        ptr: Tensor | None = None,
        dim_size: int | None = None,
        dim: int = -2,
        **kwargs: Any,
    ) -> Any:
        if self.groups is not None:  # part of another readout, which set it
            return super().__call__(x, index, None, dim_size, dim, **kwargs)
        if not self._reads_out(x, index, ptr, dim_size, dim):
            return super().__call__(x, index, ptr, dim_size, dim, **kwargs)
        rows = x.movedim(dim, 0)
        groups = Groups.of(rows, index, dim_size, self.rank_graph.world)
        index = torch.zeros(len(rows), dtype=torch.long, device=x.device) if index is None else index
        parts = [module for module in self.modules() if isinstance(module, _Readout)]
        for part in parts:
            part.__dict__["groups"] = groups
        try:
            return super().__call__(x, index, None, len(groups.counts), dim, **kwargs)
        finally:
            for part in parts:
                del part.__dict__["groups"]

    def reduce(
        self,
        x: Tensor,
        index: Tensor | None = None,
        ptr: Tensor | None = None,
        dim_size: int | None = None,
        dim: int = -2,
        reduce: str = "sum",
    ) -> Tensor:
        groups = self.groups
        if groups is None:
            return super().reduce(x, index, ptr, dim_size, dim, reduce)
        of_groups = {"sum": groups.sum, "mean": groups.mean, "max": groups.max, "min": groups.min}
        return of_groups[reduce](x.movedim(dim, 0)).movedim(0, dim)

    def _softmax(self, x: Tensor, dim: int) -> Tensor:
        assert self.groups is not None
        return self.groups.softmax(x.movedim(dim, 0)).movedim(0, dim)

    def _reads_out(self, x: Tensor, index: Tensor | None, ptr: Tensor | None, dim_size: int | None, dim: int) -> bool:
        """Whether the rows are those of graphs, the same answer on all ranks. Collective."""
        world, own = self.rank_graph.world, {kind: len(ids) for kind, ids in self.rank_graph.node_ids.items()}
        if world.num_ranks == 1:
            return False
        num_groups = None if ptr is None else ptr.numel() - 1
        if index is not None:
            num_groups = dim_size if dim_size is not None else int(index.max()) + 1 if index.numel() else 0
        by_node = {kind for kind, count in own.items() if count == num_groups}
        of_nodes = {kind for kind, count in own.items() if count == x.size(dim) and ptr is None}
        answers = world.gather_objects((num_groups is None, by_node, of_nodes))
        if set.intersection(*(there for _, there, _ in answers)):
            return False
        known = original_class(type(self)) in _BY_REDUCE | set(_RULES)
        if known and (all(none for none, *_ in answers) or set.intersection(*(there for *_, there in answers))):
            return True
        raise UnsupportedOperation(
            "outside of a message-passing layer, an aggregation over several ranks sums a row for each owned node by "
            "its graph, or anything by owned node with dim_size, the number of these; sums, means, maxima, minima, "
            "variances, power means, softmax and attentional aggregation can, of those of torch_geometric.nn.aggr; "
            f"this one was given {x.size(dim)} rows and gives {num_groups or 1}: {type(self).__name__}"
        )


class SoftmaxAggregation(_Readout, aggr.SoftmaxAggregation):
    """Li 2020."""

    def forward(
        self,
        x: Tensor,
        index: Tensor | None = None,
        ptr: Tensor | None = None,
        dim_size: int | None = None,
        dim: int = -2,
        max_num_elements: int | None = None,
    ) -> Tensor:
        if self.groups is None:
            return super().forward(x, index, ptr, dim_size, dim)
        t = self.t.view(-1, self.channels) if self.channels != 1 else self.t  # pyright: ignore[reportAttributeAccessIssue]
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.semi_grad):
            alpha = self._softmax(x * t, dim)
        return self.reduce(x * alpha, index, ptr, dim_size, dim)


class AttentionalAggregation(_Readout, aggr.AttentionalAggregation):
    """Li 2015."""

    def forward(
        self,
        x: Tensor,
        index: Tensor | None = None,
        ptr: Tensor | None = None,
        dim_size: int | None = None,
        dim: int = -2,
        max_num_elements: int | None = None,
    ) -> Tensor:
        if self.groups is None:
            return super().forward(x, index, ptr, dim_size, dim)
        gate, values = self._network(self.gate_mlp, self.gate_nn, x, index, dim_size), x
        if self.mlp is not None or self.nn is not None:
            values = self._network(self.mlp, self.nn, x, index, dim_size)
        return self.reduce(self._softmax(gate, dim) * values, index, ptr, dim_size, dim)

    def _network(self, mlp: Any, nn: Any, x: Tensor, index: Tensor | None, dim_size: int | None) -> Tensor:
        return nn(x) if mlp is None else mlp(x, batch=index, batch_size=dim_size)


class MultiAggregation(_Readout, aggr.MultiAggregation):
    """Each by itself: fused, PyG computes them from sums of this rank's rows."""

    def forward(
        self,
        x: Tensor,
        index: Tensor | None = None,
        ptr: Tensor | None = None,
        dim_size: int | None = None,
        dim: int = -2,
        max_num_elements: int | None = None,
    ) -> Tensor:
        if self.groups is None:
            return super().forward(x, index, ptr, dim_size, dim)
        return self.combine([one(x, index, ptr, dim_size, dim) for one in self.aggrs])


_RULES: dict[type, type[Converted]] = {
    aggr.SoftmaxAggregation: SoftmaxAggregation,
    aggr.AttentionalAggregation: AttentionalAggregation,
    aggr.MultiAggregation: MultiAggregation,
}


def rule_of(module: aggr.Aggregation, rule: type[Converted] | None) -> type[Converted] | None:
    """What an aggregation that belongs to no layer becomes, where ``rule`` is what it is in a layer."""
    return None if isinstance(module, _Readout) else _as_readout(rule or type(module))


@cache
def _as_readout(layer: type) -> type[Converted]:
    known = _RULES.get(layer)
    return known or type(layer.__name__, (_Readout, layer), {"__module__": layer.__module__})  # pyright: ignore[reportReturnType]

"""Any `MessagePassing` layer, a user's own included: its code runs on some edges at a time.

PyG splits a layer into ``message``, ``aggregate`` and ``update`` (and ``edge_update``), and says by an argument's name
whether it is a source's (``_j``) or a destination's (``_i``). We follow the same rule and leave everything else to the
layer. Where a message depends on its edge alone and the aggregation follows from statistics, the messages are formed
block by block, and each row of another rank comes once. Any other layer is handed one complete neighbourhood after
another. What may not be run more often than once (buffers, batch norm within) or reads more than its arguments (hooks,
``explain``) stays on PyG's own ``propagate`` over the remote-aware index.
"""

import inspect
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from functools import cache
from typing import Any

import torch_geometric.nn as pyg
from torch import Tensor
from torch_geometric.nn import MessagePassing

from fullgraph.engine import Arguments, Decomposition, Neighbourhood, Piece, aggregate_by_block, run_by_neighbourhood
from fullgraph.errors import UnsupportedOperation
from fullgraph.pyg.index import RemoteIndex
from fullgraph.pyg.rules.collected import Collected
from fullgraph.pyg.rules.converted import Converted, original_class
from fullgraph.pyg.rules.decomposed import decomposed
from fullgraph.pyg.rules.draws import KeyedDraws
from fullgraph.pyg.rules.norms import over_all_rows
from fullgraph.pyg.rules.ways import Choice, Way, can_walk, weights_wanted, why_not_sequential

# Modules of PyG whose buffers are constants, and children that their layer calls after its `propagate`.
_CONSTANT_BUFFERS = {
    pyg.GINConv,
    pyg.GINEConv,
    pyg.AGNNConv,
    pyg.GeneralConv,
    pyg.SplineConv,
    pyg.aggr.DegreeScalerAggregation,
    pyg.aggr.QuantileAggregation,
    pyg.aggr.MedianAggregation,
}
_CALLED_AFTERWARDS: dict[type, tuple[str, ...]] = {
    pyg.GINConv: ("nn",),
    pyg.GINEConv: ("nn",),
    pyg.GENConv: ("mlp",),
    pyg.CGConv: ("bn",),
    pyg.PointNetConv: ("global_nn",),
    pyg.PPFConv: ("global_nn",),
    pyg.PointGNNConv: ("mlp_g",),
    pyg.HANConv: ("proj", "k_lin"),
}


@cache
def general_rule(layer: type) -> type[Converted]:
    """The rule of a layer class that has no rule of its own."""
    return type(layer.__name__, (AnyLayer, layer), {"__module__": layer.__module__})  # pyright: ignore[reportReturnType]


class AnyLayer(Converted, MessagePassing):
    """Mixed in front of a layer: the engine runs its methods."""

    def choice(self) -> Choice:
        """How it runs, unless it is asked for attention weights."""
        reason = why_not_sequential(self) or _changing_buffers(self)
        if reason is not None:
            return Choice(Way.AT_ONCE, reason)
        if self.rank_graph.config.mode == "halo":
            return Choice(Way.AT_ONCE, "mode halo")
        if self.decomposition() is not None:
            return Choice(Way.BLOCKS, f"its own message, {_described(self.aggr_module)}")
        return Choice(Way.NEIGHBOURHOODS, "its own message and aggregation")

    def decomposition(self) -> Decomposition | None:
        """How its aggregation follows from statistics of single messages; None if it needs whole neighbourhoods."""
        layer = original_class(type(self))
        own_aggregate = layer.aggregate is not MessagePassing.aggregate  # pyright: ignore[reportAttributeAccessIssue]
        own_edges = layer.edge_update is not MessagePassing.edge_update  # pyright: ignore[reportAttributeAccessIssue]
        asked = {*self.inspector.get_param_names("message"), *self.inspector.get_param_names("update")}
        # Who asks for an edge's place, or for the number of rows, looks beyond the edge: most often for a softmax.
        lifted = any(name.endswith(("_i", "_j")) for name in self.inspector.get_param_names("update"))
        if own_aggregate or own_edges or lifted or asked & self.special_args:
            return None
        return decomposed(self.aggr_module)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        # Weights per edge are left behind by `message` as an attribute, which only a single run over all edges fills.
        place = _place_of_weights_wanted(original_class(type(self)))
        asked = args[place] if place is not None and place < len(args) else kwargs.get("return_attention_weights")
        self.__dict__["wants_all_edges"] = weights_wanted(asked)
        return super().forward(*args, **kwargs)

    def propagate(self, edge_index: Any, size: Any = None, **kwargs: Any) -> Tensor:
        way = self._way(edge_index)
        out = None
        if way is Way.BLOCKS:
            out = self._by_block(edge_index, kwargs)
        if out is None and way is not Way.AT_ONCE:
            out = self._by_neighbourhood(edge_index, kwargs)
        if out is not None:
            return out
        with _rows_of(edge_index):
            return super().propagate(edge_index, size=size, **kwargs)

    def edge_updater(self, edge_index: Any, size: Any = None, **kwargs: Any) -> Tensor:
        arguments = None
        if self._way(edge_index) is not Way.AT_ONCE:
            arguments = self._collected(edge_index, self._edge_user_args, kwargs)
        if arguments is None:
            with _rows_of(edge_index):
                return super().edge_updater(edge_index, size=size, **kwargs)

        def layer(given: dict[str, Any]) -> Tensor:
            return self.edge_update(**self.inspector.collect_param_data("edge_update", given))

        by_destination = self._run(layer, arguments, edge_index, per_edge=True)
        return by_destination.index_select(0, edge_index.places_by_destination)

    def _way(self, edge_index: Any) -> Way:
        """How it runs on this index."""
        if not can_walk(self, edge_index) or self.__dict__.get("wants_all_edges"):
            return Way.AT_ONCE
        if edge_index.graph.config.mode == "halo":
            return Way.AT_ONCE
        return AnyLayer.choice(self).way

    def _collected(self, edge_index: Any, names: Iterable[str], kwargs: dict[str, Any]) -> Collected | None:
        arguments = Collected(self, edge_index, sorted(names), kwargs)
        return arguments if arguments.sorted_out else None

    def _by_block(self, index: RemoteIndex, kwargs: dict[str, Any]) -> Tensor | None:
        """None if an argument of its message cannot be told apart by edges."""
        decomposition = self.decomposition()
        arguments = self._collected(index, self.inspector.get_param_names("message"), kwargs)
        if decomposition is None or arguments is None or arguments.has_rows_of_nodes:
            return None

        def message(piece: Piece, share: Arguments) -> Tensor:
            given = self.inspector.collect_param_data("message", arguments.of(share))
            out = self._on_some_rows(index, index.relation.dst_ids[:0], piece.edge_ids, lambda: self.message(**given))
            return out.movedim(self.node_dim, 0)

        out = aggregate_by_block(message, decomposition, index.plan, arguments.tensors, index.graph.randomness)
        with _rows_of(index), index.graph.rows_are_nodes():
            return self.update(out.movedim(0, self.node_dim), **self.inspector.collect_param_data("update", kwargs))

    def _by_neighbourhood(self, index: RemoteIndex, kwargs: dict[str, Any]) -> Tensor | None:
        arguments = self._collected(index, self._user_args, kwargs)
        if arguments is None:
            return None

        def layer(given: dict[str, Any]) -> Tensor:
            out = self.message(**self.inspector.collect_param_data("message", given))
            out = self.aggregate(out, **self.inspector.collect_param_data("aggregate", given))
            with index.graph.rows_are_nodes():
                return self.update(out, **self.inspector.collect_param_data("update", given))

        return self._run(layer, arguments, index, per_edge=False)

    def _run(self, methods: Any, arguments: Collected, index: RemoteIndex, *, per_edge: bool) -> Tensor:
        def layer(run: Neighbourhood, share: Arguments) -> Tensor:
            ids = index.relation.dst_ids[run.rows.start : run.rows.stop]
            return self._on_some_rows(index, ids, run.edge_ids, lambda: methods(arguments.of_run(run, share)))

        randomness = index.graph.randomness
        return run_by_neighbourhood(layer, index.neighbourhoods, arguments.tensors, randomness, per_edge=per_edge)

    def _on_some_rows(self, index: RemoteIndex, ids: Tensor, edge_ids: Tensor, methods: Callable[[], Tensor]) -> Tensor:
        """Call the layer's methods on rows with these ids and these edges, of which no other rank knows."""
        keys = None if index.edge_keys is None else index.edge_keys[edge_ids]
        attributes = dict(self.__dict__)
        with KeyedDraws(index.graph), index.graph.rows_are(ids, keys, alone=True):
            out = methods()
        # What the methods left behind belongs to these rows alone, and would keep them alive.
        for name, value in attributes.items():
            if self.__dict__.get(name) is not value:
                self.__dict__[name] = _OfOneRun(name) if isinstance(self.__dict__[name], Tensor) else value
        return out


def _rows_of(edge_index: Any) -> AbstractContextManager[None]:
    """While a layer works on all of an index at once: which rows dropout is given."""
    if not isinstance(edge_index, RemoteIndex):
        return nullcontext()
    return edge_index.graph.rows_are(edge_index.relation.dst_ids, edge_index.edge_keys, alone=False)


class _OfOneRun:
    """Stands where ``message`` left a tensor as an attribute: it was there for some edges only, one run at a time."""

    def __init__(self, name: str):
        self._name = name

    def __getattr__(self, attribute: str) -> Any:
        raise UnsupportedOperation(
            "a layer that runs on some edges at a time keeps no tensor of all edges; ask for return_attention_weights, "
            f"or open the graph in mode 'halo', to read: {self._name}"
        )


@cache
def _place_of_weights_wanted(layer: type) -> int | None:
    names = list(inspect.signature(layer.forward).parameters)[1:]  # pyright: ignore[reportAttributeAccessIssue]
    return names.index("return_attention_weights") if "return_attention_weights" in names else None


def _changing_buffers(conv: MessagePassing) -> str | None:
    """Why its methods may not be run twice; None if they may."""
    layer = original_class(type(conv))
    afterwards = _CALLED_AFTERWARDS.get(layer, ())
    children = [module for name, module in conv.named_children() if name not in afterwards]
    modules = [conv, *(module for child in children for module in child.modules())]
    for module in modules:
        if over_all_rows(module):
            return f"{original_class(type(module)).__name__} needs all edges at once"
        has_buffers = next(module.buffers(recurse=False), None) is not None
        if has_buffers and original_class(type(module)) not in _CONSTANT_BUFFERS:
            return f"{type(module).__name__} has buffers, which may change when it runs"
    return None


def _described(aggregation: pyg.Aggregation) -> str:
    """An aggregation by the names that PyG gives to ``aggr``."""
    if isinstance(aggregation, pyg.aggr.MultiAggregation):
        return ", ".join(_described(one) for one in aggregation.aggrs)  # pyright: ignore[reportArgumentType]
    if isinstance(aggregation, pyg.aggr.DegreeScalerAggregation):
        return f"{_described(aggregation.aggr)} scaled by degree"
    return type(aggregation).__name__.removesuffix("Aggregation").lower()

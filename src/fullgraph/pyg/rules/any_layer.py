"""Any `MessagePassing` layer, a user's own included: its code runs on complete neighbourhoods, some edges at a time.

PyG splits a layer into ``message``, ``aggregate`` and ``update`` (and ``edge_update``), and says by an argument's name
whether it is a source's (``_j``) or a destination's (``_i``). We follow the same rule, hand these methods one
neighbourhood after another and leave everything else to the layer. What may not be run more often than once (buffers,
batch norm within) or reads more than its arguments (hooks, ``explain``) stays on PyG's own ``propagate`` over the
remote-aware index.
"""

import inspect
from collections.abc import Iterable
from contextlib import AbstractContextManager, nullcontext
from functools import cache
from typing import Any

import torch
import torch_geometric.nn as pyg
from torch import Tensor
from torch_geometric.nn import MessagePassing

from fullgraph.engine import Arguments, Neighbourhood, run_by_neighbourhood
from fullgraph.errors import UnsupportedOperation
from fullgraph.pyg.index import RemoteIndex
from fullgraph.pyg.rules.converted import Converted, original_class
from fullgraph.pyg.rules.draws import KeyedDraws
from fullgraph.pyg.rules.norms import over_all_rows
from fullgraph.pyg.rules.ways import Choice, Way, can_walk, weights_wanted, why_not_sequential

SOURCE, DESTINATION, EDGE, NODE, CONSTANT = "source", "destination", "edge", "node", "constant"
Place = tuple[str, int] | None

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
def by_neighbourhood(layer: type) -> type[Converted]:
    """The rule of a layer class that has no rule of its own."""
    return type(layer.__name__, (ByNeighbourhood, layer), {"__module__": layer.__module__})  # pyright: ignore[reportReturnType]


class ByNeighbourhood(Converted, MessagePassing):
    """Mixed in front of a layer: the engine runs its methods."""

    def choice(self) -> Choice:
        """How it runs, unless it is asked for attention weights."""
        reason = why_not_sequential(self) or _changing_buffers(self)
        if reason is not None:
            return Choice(Way.AT_ONCE, reason)
        if self.rank_graph.config.mode == "halo":
            return Choice(Way.AT_ONCE, "mode halo")
        return Choice(Way.NEIGHBOURHOODS, "its own message and aggregation")

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        # Weights per edge are left behind by `message` as an attribute, which only a single run over all edges fills.
        place = _place_of_weights_wanted(original_class(type(self)))
        asked = args[place] if place is not None and place < len(args) else kwargs.get("return_attention_weights")
        self.__dict__["wants_all_edges"] = weights_wanted(asked)
        return super().forward(*args, **kwargs)

    def propagate(self, edge_index: Any, size: Any = None, **kwargs: Any) -> Tensor:
        arguments = self._arguments(edge_index, self._user_args, kwargs)
        if arguments is None:
            with _rows_of(edge_index):
                return super().propagate(edge_index, size=size, **kwargs)

        def layer(given: dict[str, Any]) -> Tensor:
            out = self.message(**self.inspector.collect_param_data("message", given))
            out = self.aggregate(out, **self.inspector.collect_param_data("aggregate", given))
            with edge_index.graph.rows_are_nodes():
                return self.update(out, **self.inspector.collect_param_data("update", given))

        return self._run(layer, arguments, edge_index, per_edge=False)

    def edge_updater(self, edge_index: Any, size: Any = None, **kwargs: Any) -> Tensor:
        arguments = self._arguments(edge_index, self._edge_user_args, kwargs)
        if arguments is None:
            with _rows_of(edge_index):
                return super().edge_updater(edge_index, size=size, **kwargs)

        def layer(given: dict[str, Any]) -> Tensor:
            return self.edge_update(**self.inspector.collect_param_data("edge_update", given))

        by_destination = self._run(layer, arguments, edge_index, per_edge=True)
        return by_destination.index_select(0, edge_index.places_by_destination)

    def _arguments(self, edge_index: Any, names: Iterable[str], kwargs: dict[str, Any]) -> "_Collected | None":
        if not can_walk(self, edge_index) or self.__dict__.get("wants_all_edges"):
            return None
        if self.choice().way is Way.AT_ONCE or edge_index.graph.config.mode == "halo":
            return None
        arguments = _Collected(self, edge_index, sorted(names), kwargs)
        return arguments if arguments.sorted_out else None

    def _run(self, methods: Any, arguments: "_Collected", index: RemoteIndex, *, per_edge: bool) -> Tensor:
        graph = index.graph

        def layer(run: Neighbourhood, share: Arguments) -> Tensor:
            keys = None if index.edge_keys is None else index.edge_keys[run.edge_ids]
            ids = index.relation.dst_ids[run.rows.start : run.rows.stop]
            attributes = dict(self.__dict__)
            with KeyedDraws(graph), graph.rows_are(ids, keys, alone=True):
                out = methods(arguments.of(run, share))
            # What the methods left behind belongs to this run alone, and would keep it alive.
            for name, value in attributes.items():
                if self.__dict__.get(name) is not value:
                    self.__dict__[name] = _OfOneRun(name) if isinstance(self.__dict__[name], Tensor) else value
            return out

        return run_by_neighbourhood(layer, index.neighbourhoods, arguments.tensors, graph.randomness, per_edge=per_edge)


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


class _Collected:
    """The arguments of one ``propagate``, each tensor with what its rows are."""

    def __init__(self, conv: MessagePassing, index: RemoteIndex, names: list[str], kwargs: dict[str, Any]):
        self._fixed: dict[str, Any] = {}
        found: dict[str, list[Tensor]] = {SOURCE: [], DESTINATION: [], EDGE: [], NODE: [], CONSTANT: []}
        self._places: dict[str, tuple[str, int]] = {}
        kinds = _kinds(conv, index, {name: _argument(name, kwargs) for name in names})
        self.sorted_out = kinds is not None
        for name, kind in (kinds or {}).items():
            value = _argument(name, kwargs)
            if kind is None:
                self._fixed[name] = value
            else:
                self._places[name] = (kind, len(found[kind]))
                found[kind].append(value)
        parameters = [p for p in conv.parameters() if p.requires_grad]
        self._num_dst = len(found[DESTINATION])
        self.tensors = Arguments(
            tuple(found[SOURCE]),
            (*found[DESTINATION], *found[NODE]),
            tuple(found[EDGE]),
            (*found[CONSTANT], *parameters),
        )

    def of(self, run: Neighbourhood, share: Arguments) -> dict[str, Any]:
        """What PyG would have collected, had the graph been this neighbourhood."""
        given = dict(self._fixed)
        for name, (kind, place) in self._places.items():
            if kind == SOURCE:
                given[name] = share.src[place].index_select(0, run.src)
            elif kind == DESTINATION:
                given[name] = share.dst[place].index_select(0, run.dst)
            elif kind == NODE:
                given[name] = share.dst[self._num_dst + place]
            else:
                given[name] = (share.edge if kind == EDGE else share.shared)[place]
        num_rows = len(run.rows)
        return given | {
            "edge_index": torch.stack([run.src, run.dst]),
            "edge_index_i": run.dst,
            "edge_index_j": run.src,
            "adj_t": None,
            "index": run.dst,
            "ptr": None,
            "size": [run.num_src, num_rows],
            "size_i": num_rows,
            "size_j": run.num_src,
            "dim_size": num_rows,
        }


def _argument(name: str, kwargs: dict[str, Any]) -> Any:
    if name[-2:] not in ("_i", "_j"):
        return kwargs.get(name, inspect.Parameter.empty)
    value = kwargs.get(name[:-2], inspect.Parameter.empty)
    return value[1 if name.endswith("_i") else 0] if isinstance(value, tuple | list) else value


def _kinds(conv: MessagePassing, index: RemoteIndex, arguments: dict[str, Any]) -> dict[str, str | None] | None:
    """What each argument's rows are (None: no tensor), the same on all ranks; None if one cannot be told."""
    possible = {name: _possible_kinds(conv, index, name, value) for name, value in arguments.items()}
    kinds: dict[str, str | None] = {}
    everywhere = index.graph.world.gather_objects(possible)
    for name in arguments:
        shared = set.intersection(*(set(there[name]) for there in everywhere))
        # Edges come first: an argument without suffix is one per edge wherever sizes leave a choice.
        kind = next((k for k in (None, SOURCE, DESTINATION, EDGE, NODE, CONSTANT) if k in shared), "unknown")
        if kind == "unknown":
            return None
        kinds[name] = kind
    return kinds


def _possible_kinds(conv: MessagePassing, index: RemoteIndex, name: str, value: Any) -> list[str | None]:
    if not isinstance(value, Tensor):
        of_both_ends = isinstance(value, tuple | list) and any(isinstance(end, Tensor) for end in value)
        return [] if of_both_ends else [None]
    relation = index.relation
    if name.endswith(("_i", "_j")):
        kind, num_rows = (SOURCE, relation.num_src) if name.endswith("_j") else (DESTINATION, relation.num_dst)
        return [kind] if conv.node_dim in (0, -value.dim()) and len(value) == num_rows else []
    kinds: list[str | None] = [CONSTANT]
    if value.dim():
        kinds += [EDGE] if len(value) == index.size(1) else []
        kinds += [NODE] if len(value) == relation.num_dst else []
    return kinds

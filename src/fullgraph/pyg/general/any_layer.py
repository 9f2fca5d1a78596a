"""Any `MessagePassing` layer, a user's own included: its code runs on some edges at a time.

PyG splits a layer into ``message``, ``aggregate`` and ``update`` (and ``edge_update``), and says by an argument's name
whether it is a source's (``_j``) or a destination's (``_i``). We follow the same rule and leave everything else to the
layer. Where a message depends on its edge alone and the aggregation follows from statistics, the messages are formed
block by block, and each row of another rank comes once. Any other layer is handed one complete neighbourhood after
another. What may not be run more often than once (buffers, batch norm within), reads more than its arguments (hooks,
``explain``), or looks beyond the edges that it is given, runs as PyG has it, over all edges at once in the global view.
"""

import inspect
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any, cast

import torch
import torch_geometric.nn as pyg
from torch import Tensor
from torch_geometric.nn import MessagePassing

from fullgraph.comm.randomness import generators_state, set_generators
from fullgraph.engine import Arguments, Decomposition, Neighbourhood, Piece, aggregate_by_block, run_by_neighbourhood
from fullgraph.pyg.data.edge_index import edges_of
from fullgraph.pyg.data.edges import Edges
from fullgraph.pyg.general.arguments import IDS, Collected
from fullgraph.pyg.general.border import Aliases, GivenOnly, aliases_of, made, plain, standing_in
from fullgraph.pyg.general.choice import Choice, Way, can_walk, weights_wanted, why_not_sequential
from fullgraph.pyg.general.converted import Converted, original_class
from fullgraph.pyg.general.decomposed import decomposed
from fullgraph.pyg.general.partial_attributes import OfOneRun, Stashed, of_all_edges
from fullgraph.rows import LooksBeyondPiece, Rows, Space, rows

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
        reason = why_not_sequential(self) or _changing_buffers(self) or self.__dict__.get("looks_beyond")
        if reason is not None:
            return Choice(Way.AT_ONCE, reason)
        if self.rank_graph.config.mode == "halo" and not self._takes_whole_neighbourhoods():
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

    def _takes_whole_neighbourhoods(self) -> bool:
        """Whether PyG's own aggregation looks at all messages of a destination, in their order."""
        layer = original_class(type(self))
        return layer.aggregate is MessagePassing.aggregate and decomposed(self.aggr_module) is None  # pyright: ignore[reportAttributeAccessIssue]

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        # Weights per edge are left behind by `message` as an attribute, which only a single run over all edges fills.
        place = _place_of_weights_wanted(original_class(type(self)))
        asked = args[place] if place is not None and place < len(args) else kwargs.get("return_attention_weights")
        self.__dict__["wants_all_edges"] = weights_wanted(asked)
        return super().forward(*args, **kwargs)

    def propagate(self, edge_index: Any, size: Any = None, **kwargs: Any) -> Any:
        run = {Way.BLOCKS: self._by_block, Way.NEIGHBOURHOODS: self._by_neighbourhood}.get(self._way(edge_index))
        if run is not None:
            edges = edges_between(edge_index, kwargs, size)
            out = None if edges is None else self._unless_beyond(lambda: run(edges, kwargs))
            if out is not None:
                return out
        return super().propagate(edge_index, size=size, **kwargs)

    def edge_updater(self, edge_index: Any, size: Any = None, **kwargs: Any) -> Tensor:
        if self._way(edge_index) is not Way.AT_ONCE:
            edges = edges_between(edge_index, kwargs, size)
            out = None if edges is None else self._unless_beyond(lambda: self._updated(edges, kwargs))
            if out is not None:
                return out
        return super().edge_updater(edge_index, size=size, **kwargs)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if self.__dict__.get("looks_beyond"):
            return super().__call__(*args, **kwargs)
        device = self.view.world.device
        state = generators_state(device)
        try:
            return of_all_edges(super().__call__(*args, **kwargs))
        except Stashed as beyond:
            set_generators(state, device)
            self.__dict__["looks_beyond"] = str(beyond)
            return super().__call__(*args, **kwargs)

    def _way(self, edge_index: Any) -> Way:
        """How it runs on this index."""
        if not can_walk(self, edge_index) or self.__dict__.get("wants_all_edges"):
            return Way.AT_ONCE
        return AnyLayer.choice(self).way

    def _unless_beyond(self, run: Callable[[], Tensor | None]) -> Tensor | None:
        """``run()``; None if the layer's code looks beyond a piece, which it then does on all ranks, and always."""
        device = self.view.world.device
        state = generators_state(device)
        try:
            return run()
        except LooksBeyondPiece as beyond:
            set_generators(state, device)
            self.__dict__["looks_beyond"] = str(beyond)
            return None

    def _collected(
        self, edges: Edges, names: Iterable[str], kwargs: dict[str, Any]
    ) -> tuple[Collected, Aliases] | None:
        aliases = aliases_of(self, edges.view)
        read = list({id(alias): alias for _, _, alias in aliases}.values())
        arguments = Collected(self, edges, sorted(names), kwargs, read)
        return (arguments, aliases) if arguments.is_sorted_out else None

    def _by_block(self, edges: Edges, kwargs: dict[str, Any]) -> Tensor | None:
        """None if an argument of its message cannot be told apart by edges."""
        decomposition = self.decomposition()
        collected = self._collected(edges, self.inspector.get_param_names("message"), kwargs)
        if decomposition is None or collected is None or collected[0].has_rows_of_nodes:
            return None
        arguments, aliases = collected

        def message(piece: Piece, share: Arguments) -> Tensor:
            space = edges.space.piece(piece.edge_ids, len(piece.edge_ids))
            given = self.inspector.collect_param_data("message", arguments.of(space, share))
            with self._piece(edges, share):
                return messages_in(self.message(**given), space, self.node_dim)

        within = self._within(edges, aliases)
        out = aggregate_by_block(message, decomposition, edges.plan, arguments.tensors, within)
        out = made(out, edges.dst_space, self)
        return self.update(
            out.movedim(0, self.node_dim) if out.dim() > 1 else out,
            **self.inspector.collect_param_data("update", kwargs),
        )

    def _by_neighbourhood(self, edges: Edges, kwargs: dict[str, Any]) -> Tensor | None:
        names = self._user_args
        asked = self._asked("message", "aggregate", "update")

        def layer(given: dict[str, Any], space: Space, nodes: Space) -> Tensor:
            out = self.message(**self.inspector.collect_param_data("message", given))
            out = self._aggregated(out, given, space, nodes)
            out = self.update(out, **self.inspector.collect_param_data("update", given))
            return messages_in(out, nodes, self.node_dim)

        return self._run(layer, edges, names, kwargs, asked, per_edge=False)

    def _aggregated(self, messages: Any, given: dict[str, Any], space: Space, nodes: Space) -> Any:
        """What the layer aggregates; PyG's own aggregations look at one destination at a time, so on plain rows."""
        layer, module = original_class(type(self)), self.aggr_module
        plainly = layer.aggregate is MessagePassing.aggregate and isinstance(messages, Rows)  # pyright: ignore[reportAttributeAccessIssue]
        if not plainly or not type(module).__module__.startswith("torch_geometric."):
            return self.aggregate(messages, **self.inspector.collect_param_data("aggregate", given))
        with torch._C.DisableTorchFunctionSubclass():
            x = messages_in(messages, space, self.node_dim)
            local_dst = self._local_destinations(given["index"], nodes)
            # Where the first destination has no neighbours a quantile cannot be indexed: one with two goes in front.
            extra = int(any(isinstance(part, pyg.aggr.QuantileAggregation) for part in module.modules()))
            if extra:
                x = torch.cat([x.new_zeros((2, *x.shape[1:])), x])
                local_dst = torch.cat([local_dst.new_zeros(2), local_dst + 1])
        more = {}
        if "max_num_elements" in _parameters_of(type(module).forward):
            more["max_num_elements"] = given["max_in_degree"]
        out = module(x, local_dst, dim_size=nodes.num_own + extra, dim=0, **more)[extra:]
        return rows(out, nodes).movedim(0, self.node_dim) if out.dim() > 1 else rows(out, nodes)

    @staticmethod
    def _local_destinations(index: Any, nodes: Space) -> Tensor:
        return index.__dict__["_ways"][nodes][1].local

    def _updated(self, edges: Edges, kwargs: dict[str, Any]) -> Tensor | None:
        def layer(given: dict[str, Any], space: Space, nodes: Space) -> Tensor:
            out = self.edge_update(**self.inspector.collect_param_data("edge_update", given))
            return messages_in(out, space, 0)

        out = self._run(layer, edges, self._edge_user_args, kwargs, self._asked("edge_update"), per_edge=True)
        if out is None:
            return None
        return made(out.index_select(0, edges.places_by_destination), edges.space, self)

    def _asked(self, *methods: str) -> frozenset[str]:
        return frozenset(name for method in methods for name in self.inspector.get_param_names(method)) & IDS

    def _run(
        self,
        methods: Callable[[dict[str, Any], Space, Space], Tensor],
        edges: Edges,
        names: Iterable[str],
        kwargs: dict[str, Any],
        asked: frozenset[str],
        *,
        per_edge: bool,
    ) -> Any:
        collected = self._collected(edges, names, kwargs)
        if collected is None:
            return None
        arguments, aliases = collected
        if asked & {"edge_index", "edge_index_j"}:
            _ = edges.src_ids  # while all ranks are here
        most = edges.constant("max in-degree", None, lambda: _largest(edges))

        def layer(run: Neighbourhood, share: Arguments) -> Tensor:
            given = arguments.of_run(run, share, asked) | {"max_in_degree": most}
            with self._piece(edges, share):
                index, num_nodes = given["index"], cast(Any, given["dim_size"])
                return methods(given, cast(Any, index)._space, num_nodes.space)

        within = self._within(edges, aliases)
        out = run_by_neighbourhood(layer, edges.neighbourhoods, arguments.tensors, within, per_edge=per_edge)
        if per_edge:
            return out
        result: Any = made(out, edges.dst_space, self)
        return result.movedim(0, self.node_dim) if result.dim() > 1 else result

    def _within(self, edges: Edges, aliases: Aliases) -> Callable[[], Any]:
        @contextmanager
        def within() -> Iterator[None]:
            with standing_in(aliases), edges.view.piece():
                yield

        return within

    @contextmanager
    def _piece(self, edges: Edges, share: Arguments) -> Iterator[None]:
        """While the layer's methods run on some edges, of which no other rank knows."""
        attributes = dict(self.__dict__)
        if torch.is_grad_enabled():  # again, in backward
            yield
        else:
            with GivenOnly(list(share.all)):
                yield
        # What the methods left behind belongs to these rows alone, and would keep them alive.
        for name, value in attributes.items():
            if self.__dict__.get(name) is not value:
                self.__dict__[name] = OfOneRun(name) if isinstance(self.__dict__[name], Tensor) else value


def edges_between(edge_index: Any, kwargs: dict[str, Any], size: Any = None) -> Edges | None:
    """The edges of an index, between rows that a layer is given; None if that cannot be told, or not of ``size``."""
    spaces: list[list[Space]] = [[], []]
    is_half = False
    for value in kwargs.values():
        ends = value if isinstance(value, tuple | list) and len(value) == 2 else (value, value)
        is_half = is_half or (ends[0] is None) != (ends[1] is None)
        for end, found in zip(ends, spaces, strict=True):
            if isinstance(end, Rows) and end._space != edge_index._space:
                found.append(end._space)
    if getattr(edge_index, "_edges", None) is not None:
        edges = edges_of(edge_index, edge_index._space, edge_index._space)
    elif not spaces[0] or not spaces[1]:
        return None
    else:
        edges = edges_of(edge_index, spaces[0][0], spaces[1][0])
    wanted = (edges.src_space.num_rows, edges.dst_space.num_rows)
    if is_half and (size is None or None in size) and wanted[0] != wanted[1]:
        return None  # PyG takes there to be as many of both
    if size is not None and any(n not in (None, want) for n, want in zip(size, wanted, strict=True)):
        return None
    return edges


def messages_in(out: Any, space: Space, node_dim: int) -> Tensor:
    """What a method gave for a piece, as a plain tensor with a row for each of it in front.

    Raises:
        LooksBeyondPiece: if it is something else, such as a tuple.
    """
    if not isinstance(out, Rows) or out._space != space:
        raise LooksBeyondPiece(f"its methods return no row for each edge or node but a: {type(out).__name__}")
    return plain(out).movedim(out._dim, 0)


def _largest(edges: Edges) -> int:
    own = edges.plan.in_degree
    return int(edges.view.world.all_max(torch.cat([own, own.new_zeros(1)]).amax().view(1)))


@cache
def _place_of_weights_wanted(layer: type) -> int | None:
    names = list(inspect.signature(layer.forward).parameters)[1:]  # pyright: ignore[reportAttributeAccessIssue]
    return names.index("return_attention_weights") if "return_attention_weights" in names else None


@cache
def _parameters_of(function: Any) -> frozenset[str]:
    return frozenset(inspect.signature(function).parameters)


def _changing_buffers(conv: MessagePassing) -> str | None:
    """Why its methods may not be run twice; None if they may."""
    layer = original_class(type(conv))
    afterwards = _CALLED_AFTERWARDS.get(layer, ())
    children = [module for name, module in conv.named_children() if name not in afterwards]
    modules = [conv, *(module for child in children for module in child.modules())]
    for module in modules:
        has_buffers = next(module.buffers(recurse=False), None) is not None
        if has_buffers and original_class(type(module)) not in _CONSTANT_BUFFERS:
            return f"{original_class(type(module)).__name__} has buffers, which may change when it runs"
    return None


def _described(aggregation: pyg.Aggregation) -> str:
    """An aggregation by the names that PyG gives to ``aggr``."""
    if isinstance(aggregation, pyg.aggr.MultiAggregation):
        return ", ".join(_described(one) for one in aggregation.aggrs)  # pyright: ignore[reportArgumentType]
    if isinstance(aggregation, pyg.aggr.DegreeScalerAggregation):
        return f"{_described(aggregation.aggr)} scaled by degree"
    return type(aggregation).__name__.removesuffix("Aggregation").lower()

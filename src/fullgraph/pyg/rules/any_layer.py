"""Any `MessagePassing` layer, a user's own included: its code runs on complete neighbourhoods, some edges at a time.

PyG splits a layer into ``message``, ``aggregate`` and ``update``, and says by an argument's name whether it is a
source's (``_j``) or a destination's (``_i``). We follow the same rule, hand the three methods one neighbourhood after
another and leave everything else to the layer. What may not be run more often than once (buffers, batch norm within) or
reads more than its arguments (hooks, ``explain``) stays on PyG's own ``propagate`` over the remote-aware index.
"""

import inspect
from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch_geometric.nn import MessagePassing

from fullgraph.engine import Arguments, Neighbourhood, run_by_neighbourhood
from fullgraph.pyg.index import RemoteIndex
from fullgraph.pyg.rules.aggregating import can_walk
from fullgraph.pyg.rules.converted import Converted
from fullgraph.pyg.rules.rowwise import KeyedDropouts

SOURCE, DESTINATION, EDGE, NODE, CONSTANT = "source", "destination", "edge", "node", "constant"
Place = tuple[str, int] | None


@cache
def by_neighbourhood(layer: type) -> type[Converted]:
    """The rule of a layer class that has no rule of its own."""
    return type(layer.__name__, (_ByNeighbourhood, layer), {"__module__": layer.__module__})  # pyright: ignore[reportReturnType]


class _ByNeighbourhood(Converted, MessagePassing):
    def forward(self, *args: Any, **kwargs: Any) -> Any:
        # Weights per edge are left behind by `message` as an attribute, which only a single run over all edges fills.
        self.__dict__["wants_all_edges"] = isinstance(kwargs.get("return_attention_weights"), bool)
        return super().forward(*args, **kwargs)

    def propagate(self, edge_index: Any, size: Any = None, **kwargs: Any) -> Tensor:
        at_once = self.__dict__.get("wants_all_edges") or next(self.buffers(), None) is not None
        if at_once or not can_walk(self, edge_index) or edge_index.graph.config.mode == "halo":
            return super().propagate(edge_index, size=size, **kwargs)
        arguments = _Collected(self, edge_index, kwargs)
        if not arguments.sorted_out:
            return super().propagate(edge_index, size=size, **kwargs)
        graph = edge_index.graph

        def layer(run: Neighbourhood, share: Arguments) -> Tensor:
            keys = None if edge_index.edge_keys is None else edge_index.edge_keys[run.edge_ids]
            ids = graph.node_ids[run.rows.start : run.rows.stop]
            with KeyedDropouts(graph), graph.rows_are(ids, keys):
                given = arguments.of(run, share)
                out = self.message(**self.inspector.collect_param_data("message", given))
                out = self.aggregate(out, **self.inspector.collect_param_data("aggregate", given))
                return self.update(out, **self.inspector.collect_param_data("update", given))

        attributes = dict(self.__dict__)
        out = run_by_neighbourhood(layer, edge_index.neighbourhoods, arguments.tensors, graph.randomness)
        # What `message` left behind belongs to the last run alone.
        self.__dict__.update({k: v for k, v in attributes.items() if self.__dict__.get(k) is not v})
        return out


class _Collected:
    """The arguments of one ``propagate``, each tensor with what its rows are."""

    def __init__(self, conv: MessagePassing, index: RemoteIndex, kwargs: dict[str, Any]):
        self._fixed: dict[str, Any] = {}
        found: dict[str, list[Tensor]] = {SOURCE: [], DESTINATION: [], EDGE: [], NODE: [], CONSTANT: []}
        self._places: dict[str, tuple[str, int]] = {}
        names = sorted(conv._user_args)
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
        return [None]
    num_own = index.graph.num_own
    if name.endswith(("_i", "_j")):
        by_rows = conv.node_dim in (0, -value.dim()) and len(value) == num_own
        return [SOURCE if name.endswith("_j") else DESTINATION] if by_rows else []
    kinds: list[str | None] = [CONSTANT]
    if value.dim():
        kinds += [EDGE] if len(value) == index.size(1) else []
        kinds += [NODE] if len(value) == num_own else []
    return kinds

"""The arguments of one ``propagate`` by what their rows are.

PyG says by a name's ending whether it is a source's (``_j``) or a destination's (``_i``); what the rest is, the row
space says. On a piece of the edges each is `Rows` of a piece, so that a message sees the whole graph's sizes and ids,
and is found out where it looks beyond its piece.
"""

import inspect
from typing import Any

import torch
from torch import Tensor
from torch_geometric.nn import MessagePassing

from fullgraph.engine import Arguments, Neighbourhood
from fullgraph.pyg.data.edges import Edges
from fullgraph.pyg.general.border import own
from fullgraph.rows import Here, Rows, Space, rows
from fullgraph.rows.routes import ways_of
from fullgraph.rows.table import entered_values

SOURCE, DESTINATION, EDGE, NODE, CONSTANT = "source", "destination", "edge", "node", "constant"
IDS = frozenset(["edge_index", "edge_index_i", "edge_index_j"])
"""Arguments of PyG's that are ids of the whole graph."""


class Collected:
    """The arguments of one ``propagate``, each tensor with what its rows are.

    Attributes:
        is_sorted_out: whether it is known of all of them.
        tensors: for the engine: plain ones, of this rank.
    """

    def __init__(
        self, conv: MessagePassing, edges: Edges, names: list[str], kwargs: dict[str, Any], parameters: list[Tensor]
    ):
        self._edges, self._fixed = edges, {}
        found: dict[str, list[Tensor]] = {SOURCE: [], DESTINATION: [], EDGE: [], NODE: [], CONSTANT: []}
        self._places: dict[str, tuple[str, int]] = {}
        self.is_sorted_out = True
        for name in names:
            value = _argument(name, kwargs)
            if value is inspect.Parameter.empty:
                continue
            kind = _kind(conv, edges, name, value)
            if kind == "unknown":
                self.is_sorted_out = False
                return
            if kind is None:
                self._fixed[name] = value
            else:
                self._places[name] = (kind, len(found[kind]))
                found[kind].append(_own(value, kind, edges))
        self._num_dst = len(found[DESTINATION])
        self.tensors = Arguments(
            tuple(found[SOURCE]),
            (*found[DESTINATION], *found[NODE]),
            tuple(found[EDGE]),
            tuple(entered_values(found[CONSTANT], edges.view)),
            tuple(parameters),
        )

    @property
    def has_rows_of_nodes(self) -> bool:
        """Whether an argument has a row per destination that the layer chooses from by itself."""
        return len(self.tensors.dst) > self._num_dst

    def of(self, space: Space, share: Arguments, nodes: Space | None = None) -> dict[str, Any]:
        """By name what belongs to some edges, as `Rows` of the piece ``space``.

        ``share`` has rows in the places of ``tensors``, those of all its nodes being of the piece ``nodes``.
        """
        given = dict(self._fixed)
        for name, (kind, place) in self._places.items():
            if kind == SOURCE:
                given[name] = _as_rows(share.src[place], space)
            elif kind == DESTINATION:
                given[name] = _as_rows(share.dst[place], space)
            elif kind == NODE:
                assert nodes is not None
                given[name] = _as_rows(share.dst[place + self._num_dst], nodes)
            elif kind == EDGE:
                given[name] = _as_rows(share.edge[place], space)
            else:
                given[name] = share.shared[place]
        return given

    def of_run(self, run: Neighbourhood, share: Arguments, asked: frozenset[str]) -> dict[str, Any]:
        """What PyG would have collected, on this neighbourhood; ``share`` has a row per end. ``asked``: some names."""
        edges = self._edges
        at_edges = Arguments(
            tuple(t.index_select(0, run.src) for t in share.src),
            (*(t.index_select(0, run.dst) for t in share.dst[: self._num_dst]), *share.dst[self._num_dst :]),
            share.edge,
            share.shared,
            share.read,
        )
        space = edges.space.piece(run.edge_ids, len(run.edge_ids))
        first, stop = run.rows.start, run.rows.stop
        nodes = edges.dst_space.piece(slice(first, stop), stop - first)
        index = _as_rows(edges.dst_space.positions[first:stop][run.dst], space)
        for of, way in ((nodes, Here(run.dst)), (edges.dst_space, Here(run.dst + first))):
            ways_of(index)[of] = (index._version, way)
        given = self.of(space, at_edges, nodes) | {
            "edge_index_i": index,
            "adj_t": None,
            "index": index,
            "ptr": None,
            "size": [edges.src_space.count, nodes.count],
            "size_i": nodes.count,
            "size_j": edges.src_space.count,
            "dim_size": nodes.count,
        }
        if asked & {"edge_index", "edge_index_j"}:
            src = _as_rows(edges.src_ids[run.edge_ids], space)
            given |= {"edge_index_j": src, "edge_index": rows(torch.stack([src, index]).as_subclass(Tensor), space, 1)}
        return given


def _as_rows(x: Tensor, space: Space) -> Rows:
    return rows(x.view_as(x), space)


def _argument(name: str, kwargs: dict[str, Any]) -> Any:
    if name in IDS or name[-2:] not in ("_i", "_j"):
        return kwargs.get(name, inspect.Parameter.empty)
    value = kwargs.get(name[:-2], inspect.Parameter.empty)
    return value[1 if name.endswith("_i") else 0] if isinstance(value, tuple | list) else value


def _kind(conv: MessagePassing, edges: Edges, name: str, value: Any) -> str | None:
    """What an argument's rows are; None: no tensor; ``unknown``: it cannot be told."""
    if not isinstance(value, Tensor):
        of_both_ends = isinstance(value, tuple | list) and any(isinstance(end, Tensor) for end in value)
        return "unknown" if of_both_ends else None
    if name.endswith(("_i", "_j")):
        space = edges.src_space if name.endswith("_j") else edges.dst_space
        fits = value.dim() > 0 and conv.node_dim % value.dim() == 0 and value.shape[0] == space.num_rows
        return ("source" if name.endswith("_j") else "destination") if fits and _row_dim(value) == 0 else "unknown"
    if not isinstance(value, Rows):
        return CONSTANT
    if value._dim != 0:
        return "unknown"
    if value._space == edges.space or (value._space != edges.dst_space and len(value) == edges.space.num_rows):
        return EDGE
    return NODE if len(value) == edges.dst_space.num_rows else "unknown"


def _row_dim(value: Tensor) -> int:
    return value._dim if isinstance(value, Rows) else 0


def _own(value: Tensor, kind: str, edges: Edges) -> Tensor:
    if kind == CONSTANT:
        return value
    spaces = {SOURCE: edges.src_space, DESTINATION: edges.dst_space, NODE: edges.dst_space, EDGE: edges.space}
    return own(value, spaces[kind])

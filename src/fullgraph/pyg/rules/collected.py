"""The arguments of one ``propagate`` by what their rows are, which PyG says by a name's ending.

``_j`` is a source's and ``_i`` a destination's; what the rest is follows from its number of rows, on all ranks.
"""

import inspect
from typing import Any

import torch
from torch import Tensor
from torch_geometric.nn import MessagePassing

from fullgraph.engine import Arguments, Neighbourhood
from fullgraph.pyg.index import RemoteIndex

SOURCE, DESTINATION, EDGE, NODE, CONSTANT = "source", "destination", "edge", "node", "constant"


class Collected:
    """The arguments of one ``propagate``, each tensor with what its rows are."""

    def __init__(self, conv: MessagePassing, index: RemoteIndex, names: list[str], kwargs: dict[str, Any]):
        self._fixed: dict[str, Any] = {}
        found: dict[str, list[Tensor]] = {SOURCE: [], DESTINATION: [], EDGE: [], NODE: [], CONSTANT: []}
        self._places: dict[str, tuple[str, int]] = {}
        values = {name: _argument(name, kwargs) for name in names}
        values = {name: value for name, value in values.items() if value is not inspect.Parameter.empty}
        kinds = _kinds(conv, index, values)
        self.sorted_out = kinds is not None
        for name, kind in (kinds or {}).items():
            value = values[name]
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
            tuple(found[CONSTANT]),
            tuple(parameters),
        )

    @property
    def has_rows_of_nodes(self) -> bool:
        """Whether an argument has a row per destination that the layer chooses from by itself."""
        return len(self.tensors.dst) > self._num_dst

    def of(self, share: Arguments) -> dict[str, Any]:
        """By name what belongs to some edges: ``share`` has their rows, in the places of ``tensors``."""
        given = dict(self._fixed)
        for name, (kind, place) in self._places.items():
            if kind == SOURCE:
                given[name] = share.src[place]
            elif kind in (DESTINATION, NODE):
                given[name] = share.dst[place + (self._num_dst if kind == NODE else 0)]
            else:
                given[name] = (share.edge if kind == EDGE else share.shared)[place]
        return given

    def of_run(self, run: Neighbourhood, share: Arguments) -> dict[str, Any]:
        """What PyG would have collected, had the graph been this neighbourhood; ``share`` has a row per end."""
        at_edges = Arguments(
            tuple(t.index_select(0, run.src) for t in share.src),
            (*(t.index_select(0, run.dst) for t in share.dst[: self._num_dst]), *share.dst[self._num_dst :]),
            share.edge,
            share.shared,
            share.read,
        )
        num_rows = len(run.rows)
        return self.of(at_edges) | {
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

"""What `fullgraph.open` returns: PyG's own containers, holding the rows and in-edges of one rank."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch_geometric.data import Data, HeteroData
from torch_geometric.data.data import BaseData

from fullgraph.comm import World
from fullgraph.engine import Randomness
from fullgraph.errors import InputError
from fullgraph.graph import NodeType, Relation
from fullgraph.pyg.index import RemoteIndex
from fullgraph.pyg.rank_graph import RankGraph


class _Partitioned(BaseData):
    @property
    def randomness(self) -> Randomness:
        """Which dropout mask comes next; a checkpoint holds its state."""
        return rank_graph(self).randomness

    @property
    def world(self) -> World:
        """The ranks."""
        return rank_graph(self).world

    @contextmanager
    def rows_are(self, node_type: NodeType | None = None) -> Iterator[None]:
        """Within, dropout takes rows for those of ``node_type``, for types that no rank can tell apart by number."""
        graph = rank_graph(self)
        with graph.rows_are(graph.node_ids[known_type(graph, node_type)], None, alone=False):
            yield


class PartitionedData(_Partitioned, Data):
    """A PyG `Data` whose rows are those of one rank, with ``edge_index`` a `RemoteIndex`.

    ``num_nodes`` counts owned rows and ``num_global_nodes`` all of them; ``num_classes`` and ``num_features`` are
    global; ``node_ids`` holds the original ids of the owned rows; ``checksum`` is that of the graph on disk.
    """


class PartitionedHeteroData(_Partitioned, HeteroData):
    """A PyG `HeteroData` whose rows are those of one rank, with a `RemoteIndex` for every relation.

    Each ``data[node_type]`` has ``num_nodes``, which may be 0, ``num_global_nodes``, ``node_ids`` and, where there are
    class labels, ``num_classes``, as `PartitionedData` has them; ``checksum`` is that of the graph on disk.
    """


def indices(data: BaseData) -> dict[Relation | None, RemoteIndex]:
    """The index of every relation of ``data``; None names that of a homogeneous graph.

    Raises:
        InputError: if ``data`` does not come from ``fullgraph.open``.
    """
    found: dict[Any, Any]
    if isinstance(data, HeteroData):
        found = {relation: data[relation].get("edge_index") for relation in data.edge_types}
    else:
        found = {None: data.get("edge_index") if isinstance(data, Data) else None}
    for index in found.values():
        if not isinstance(index, RemoteIndex):
            raise InputError(f"data must come from fullgraph.open, but its edge_index is a: {type(index).__name__}")
    if not found:
        raise InputError(f"data must come from fullgraph.open, but it has no edge_index: {type(data).__name__}")
    return found


def rank_graph(data: BaseData) -> RankGraph:
    """What this rank knows of the graph that ``data`` belongs to.

    Raises:
        InputError: if ``data`` does not come from ``fullgraph.open``.
    """
    return next(iter(indices(data).values())).relation.graph


def known_type(graph: RankGraph, node_type: NodeType | None) -> NodeType:
    """``node_type``, or the only one there is.

    Raises:
        InputError: if there is no such type, or several and none was given.
    """
    types = list(graph.node_ids)
    if node_type is None and len(types) == 1:
        return types[0]
    if node_type not in types:
        raise InputError(f"node_type must be one of {', '.join(types)}: {node_type!r}")
    return node_type

"""What `fullgraph.open` returns: PyG's own containers, holding the rows and in-edges of one rank."""

from collections.abc import Iterator
from contextlib import contextmanager
from copy import copy
from dataclasses import replace
from itertools import accumulate
from typing import Any

import torch
from torch_geometric.data import Data, HeteroData
from torch_geometric.data.data import BaseData

from fullgraph.comm import World
from fullgraph.engine import Randomness
from fullgraph.errors import InputError
from fullgraph.graph import EDGE, NODE, NodeType, Relation
from fullgraph.pyg.index import RemoteIndex
from fullgraph.pyg.pruned_index import PrunedIndex
from fullgraph.pyg.rank_graph import RankGraph
from fullgraph.pyg.stacked import stack


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

    def to_homogeneous(self, *args: Any, **kwargs: Any) -> PartitionedData:  # pyright: ignore[reportIncompatibleMethodOverride]
        """All types as one, as PyG's method of this name does it, with its arguments. Collective.

        Nodes are numbered one type after another and edges one relation after another, as PyG numbers those of the
        whole graph; ``node_type`` and ``edge_type`` say which is which.
        """
        found = {relation: index for relation, index in indices(self).items() if relation is not None}
        before = rank_graph(self)
        plain = copy(self)
        for relation, index in found.items():
            plain[relation].edge_index = torch.zeros_like(index.plain)  # type: ignore[reportArgumentType]
        data = PartitionedData(**HeteroData.to_homogeneous(plain, *args, **kwargs).to_dict())
        firsts = accumulate(before.num_global_nodes.values(), initial=0)
        ids = {kind: before.node_ids[kind] + first for kind, first in zip(before.node_ids, firsts, strict=False)}
        graph = replace(
            before,
            node_ids={NODE: torch.cat(list(ids.values()))},
            num_global_nodes={NODE: sum(before.num_global_nodes.values())},
        )
        ends = [(relation[0], relation[2]) for relation in found]
        num_src = {kind: len(rows) for kind, rows in ids.items()}
        data.edge_index = stack(list(found.values()), ends, num_src, ids, graph, EDGE)
        data.num_nodes, data.num_global_nodes = len(graph.node_ids[NODE]), graph.num_global_nodes[NODE]
        data.node_ids = graph.node_ids[NODE]
        num_classes = {store.num_classes for store in self.node_stores if "num_classes" in store}
        data.num_classes = num_classes.pop() if len(num_classes) == 1 else None
        return data


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
        if isinstance(index, PrunedIndex):
            raise InputError("this takes data from fullgraph.open, but was given data from fullgraph.prune")
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
    return data.edge_index.graph if is_pruned(data) else next(iter(indices(data).values())).graph


def is_pruned(data: BaseData) -> bool:
    """Whether ``data`` comes from ``fullgraph.prune``."""
    return isinstance(data, Data) and isinstance(data.get("edge_index"), PrunedIndex)


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

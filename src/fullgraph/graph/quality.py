"""How good a partition is, in the numbers that decide a run: rows to fetch and send, and how evenly."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from fullgraph.graph.graph import NodeType, Relation
from fullgraph.graph.reader import PartitionedGraph


@dataclass(frozen=True, kw_only=True)
class PartQuality:
    """One part.

    Attributes:
        num_nodes: nodes it owns, over all types.
        num_edges: in-edges of them, over all relations.
        num_halo: distinct source nodes of these edges that other parts own: rows it fetches in a layer.
        num_boundary: pairs (own node, other part that has it in its halo): rows it sends in a layer.
    """

    num_nodes: int
    num_edges: int
    num_halo: int
    num_boundary: int


@dataclass(frozen=True, kw_only=True)
class PartitionQuality:
    """A partition as a whole.

    Attributes:
        num_nodes: nodes of each type.
        num_edges: edges of each relation.
        edge_cut: per relation, edges whose source belongs to another part than their destination.
        parts: one entry per part.
    """

    num_nodes: Mapping[NodeType, int]
    num_edges: Mapping[Relation, int]
    edge_cut: Mapping[Relation, int]
    parts: tuple[PartQuality, ...]

    @property
    def edge_cut_fraction(self) -> float:
        """Share of all edges that are cut, 0 without edges."""
        return sum(self.edge_cut.values()) / max(sum(self.num_edges.values()), 1)

    @property
    def node_balance(self) -> float:
        """Largest part's nodes over the mean: 1 is even."""
        return _balance([part.num_nodes for part in self.parts])

    @property
    def edge_balance(self) -> float:
        """Largest part's in-edges over the mean: 1 is even; 1 without edges."""
        return _balance([part.num_edges for part in self.parts])

    @property
    def halo_balance(self) -> float:
        """Largest part's halo over the mean: 1 is even; 1 when no part has one."""
        return _balance([part.num_halo for part in self.parts])


def partition_quality(graph: PartitionedGraph) -> PartitionQuality:
    """Measure a partition, one part in memory at a time.

    Raises:
        GraphFormatError: when a part's file is damaged.
    """
    book = graph.book
    cut = dict.fromkeys(graph.relations, 0)
    num_halo = np.zeros(graph.num_parts, np.int64)
    num_boundary = np.zeros(graph.num_parts, np.int64)
    for part in range(graph.num_parts):
        remote: dict[NodeType, list[np.ndarray]] = {}
        for relation, edges in graph.read_part(part).edges.items():
            first, last = book.offsets[relation[0]][part : part + 2]
            outside = edges.src[(edges.src < first) | (edges.src >= last)]
            cut[relation] += len(outside)
            remote.setdefault(relation[0], []).append(np.unique(outside))
        for node_type, sources in remote.items():
            halo = np.unique(np.concatenate(sources))
            num_halo[part] += len(halo)
            num_boundary += np.bincount(book.part_of_node(node_type, halo), minlength=graph.num_parts)
    return PartitionQuality(
        num_nodes={node_type: graph.num_nodes(node_type) for node_type in graph.node_types},
        num_edges={relation: graph.num_edges(relation) for relation in graph.relations},
        edge_cut=cut,
        parts=tuple(
            PartQuality(
                num_nodes=sum(int(offsets[part + 1] - offsets[part]) for offsets in book.offsets.values()),
                num_edges=sum(entry.num_edges[part] for entry in graph.manifest.relations.values()),
                num_halo=int(num_halo[part]),
                num_boundary=int(num_boundary[part]),
            )
            for part in range(graph.num_parts)
        ),
    )


def _balance(sizes: list[int]) -> float:
    return max(sizes) * len(sizes) / sum(sizes) if sum(sizes) else 1.0

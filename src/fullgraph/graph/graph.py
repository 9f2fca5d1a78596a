"""A whole graph in the memory of one process: what partitioners cut and data sets give."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Self

import numpy as np

from fullgraph.errors import InputError
from fullgraph.graph.check import check_edges, check_name, check_node_arrays, ids_as_int64

NodeType = str
Relation = tuple[str, str, str]  # (source type, name, destination type)

NODE: NodeType = "node"  # the only node type of a homogeneous graph
EDGE: Relation = (NODE, "to", NODE)  # its only relation


@dataclass(frozen=True, kw_only=True)
class Edges:
    """The edges of one relation, in the user's own order: an edge's id is its position here.

    Self-loops and repeated edges are edges like any other.

    Attributes:
        src: int64 [num_edges], ids of the source nodes.
        dst: int64 [num_edges], ids of the destination nodes.
        arrays: what is stored per edge, each [num_edges, …]; ``edge_weight`` and ``edge_attr`` must be finite.
    """

    src: np.ndarray
    dst: np.ndarray
    arrays: Mapping[str, np.ndarray] = field(default_factory=dict)

    @property
    def num_edges(self) -> int:
        return len(self.src)


@dataclass(frozen=True, kw_only=True)
class Graph:
    """A whole graph: node types, what is known per node, and the edges of each relation.

    A homogeneous graph has the one node type ``NODE`` and the one relation ``EDGE``.

    Attributes:
        num_nodes: nodes of each type; ids of a type run from 0.
        node_arrays: what is stored per node of a type, each [num_nodes, …]. Names with a meaning: ``x`` features,
            [num_nodes, num_features] as a rule, finite; ``y`` labels, whole numbers [num_nodes] (negative: no label) or
            numbers [num_nodes] or [num_nodes, num_labels] (NaN: no label); ``train_mask``, ``val_mask``, ``test_mask``
            bool [num_nodes] or [num_nodes, num_splits]. A type may be missing here: nothing is stored for it.
        edges: the edges of each relation. A relation without edges is a relation.

    Raises:
        InputError: on anything that breaks a rule above; the message names the array, its type or relation, and the
            first offending value.
    """

    num_nodes: Mapping[NodeType, int]
    node_arrays: Mapping[NodeType, Mapping[str, np.ndarray]]
    edges: Mapping[Relation, Edges]

    def __post_init__(self) -> None:
        if not self.num_nodes:
            raise InputError("a graph needs at least one node type; num_nodes names none: {}")
        for node_type, count in self.num_nodes.items():
            check_name("node type", node_type)
            if count < 0:
                raise InputError(f"num_nodes of node type {node_type!r} must be 0 or more: {count}")
        for node_type, arrays in self.node_arrays.items():
            if node_type not in self.num_nodes:
                raise InputError(f"node_arrays has a node type that num_nodes does not name: {node_type!r}")
            check_node_arrays(node_type, arrays, self.num_nodes[node_type])
        for relation, edges in self.edges.items():
            if len(relation) != 3:
                raise InputError(f"a relation is (source type, name, destination type): {relation!r}")
            source, name, destination = relation
            check_name("relation", name)
            for end in (source, destination):
                if end not in self.num_nodes:
                    raise InputError(f"relation {relation} joins a node type that num_nodes does not name: {end!r}")
            check_edges(
                relation, edges.src, edges.dst, edges.arrays, (self.num_nodes[source], self.num_nodes[destination])
            )

    @classmethod
    def homogeneous(
        cls,
        edge_index: np.ndarray,
        *,
        num_nodes: int,
        edge_arrays: Mapping[str, np.ndarray] | None = None,
        **node_arrays: np.ndarray,
    ) -> Self:
        """A graph with one node type and one relation.

        Args:
            edge_index: any whole-number dtype [2, num_edges]: row 0 sources, row 1 destinations.
            num_nodes: nodes of the graph; isolated ones count.
            edge_arrays: what is stored per edge, each [num_edges, …].
            node_arrays: what is stored per node, each [num_nodes, …].

        Raises:
            InputError: as the class does, and on an edge_index of another shape or dtype.
        """
        edge_index = np.asarray(edge_index)
        if edge_index.ndim != 2 or edge_index.shape[0] != 2:
            raise InputError(f"edge_index must have shape [2, num_edges]: {list(edge_index.shape)}")
        src, dst = (ids_as_int64(row, "edge_index") for row in edge_index)
        edges = Edges(src=src, dst=dst, arrays=dict(edge_arrays or {}))
        return cls(num_nodes={NODE: num_nodes}, node_arrays={NODE: node_arrays}, edges={EDGE: edges})

"""METIS: few edges between parts, so few rows to send; several times fewer than a random partition on real graphs."""

import numpy as np

from fullgraph.graph.graph import Graph, NodeType
from fullgraph.partitioners.merged import in_degrees, symmetric_adjacency, type_starts
from fullgraph.partitioners.metis_process import cut, cut_apart

SOON_CUT = 1 << 19
"""Edges that METIS cuts in about a second, for which a process of its own is not worth its start."""


def metis(graph: Graph, num_parts: int, seed: int) -> dict[NodeType, np.ndarray]:
    """METIS's k-way partition of the symmetrised graph, all node types merged into one.

    A node weighs as much as its in-edges plus their mean: nodes (memory) and edges (time) count the same in total, so
    that neither piles up in one part. METIS's own multi-constraint mode balances both exactly, but pymetis has no way
    to ask for it. METIS may leave a part empty; the caller repairs that.
    """
    adjacency = symmetric_adjacency(graph)
    degrees = in_degrees(graph)
    weights = degrees + max(1, round(float(degrees.mean())))
    call = cut if adjacency.nnz < 2 * SOON_CUT else cut_apart
    merged = call(adjacency.indptr, adjacency.indices, weights, num_parts, seed)
    return {
        node_type: merged[start : start + graph.num_nodes[node_type]] for node_type, start in type_starts(graph).items()
    }

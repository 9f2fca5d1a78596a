"""METIS: few edges between parts, so few rows to send; several times fewer than a random partition on real graphs."""

import numpy as np
import pymetis

from fullgraph.graph.graph import Graph, NodeType
from fullgraph.partitioners.merged import in_degrees, symmetric_adjacency, type_starts


def metis(graph: Graph, num_parts: int, seed: int) -> dict[NodeType, np.ndarray]:
    """METIS's k-way partition of the symmetrised graph, all node types merged into one.

    A node weighs as much as its in-edges plus their mean: nodes (memory) and edges (time) count the same in total, so
    that neither piles up in one part. METIS's own multi-constraint mode balances both exactly, but pymetis has no way
    to ask for it. METIS may leave a part empty; the caller repairs that.
    """
    adjacency = symmetric_adjacency(graph)
    degrees = in_degrees(graph)
    weights = degrees + max(1, round(float(degrees.mean())))
    # the wheel's METIS has 64-bit indices and copies anything else element by element
    partition = pymetis.part_graph(
        num_parts,
        pymetis.CSRAdjacency(*(np.array(part, np.int64).ravel() for part in (adjacency.indptr, adjacency.indices))),
        vweights=weights,
        recursive=False,
        options=pymetis.Options(seed=seed),
    )
    merged = np.asarray(partition.vertex_part, dtype=np.int32)
    return {
        node_type: merged[start : start + graph.num_nodes[node_type]] for node_type, start in type_starts(graph).items()
    }

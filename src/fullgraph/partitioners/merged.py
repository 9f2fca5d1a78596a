"""One plain graph out of all node types and relations, because METIS and node orders know nothing of types."""

import numpy as np
import scipy.sparse as sp

from fullgraph.graph.graph import Graph, NodeType


def type_starts(graph: Graph) -> dict[NodeType, int]:
    """The merged id of each type's node 0: types follow each other in the graph's own order."""
    starts = np.cumsum([0, *graph.num_nodes.values()])
    return dict(zip(graph.num_nodes, starts.tolist(), strict=False))


def symmetric_adjacency(graph: Graph) -> sp.csr_array:
    """Who is joined to whom, in either direction and by any relation.

    Returns:
        bool [N, N] over merged ids, symmetric, without self-loops and repeated edges.
    """
    starts = type_starts(graph)
    num_nodes = sum(graph.num_nodes.values())
    index = np.int32 if num_nodes < 2**31 else np.int64
    rows, columns = [], []
    for (source, _, destination), edges in graph.edges.items():
        src = (edges.src + starts[source]).astype(index)
        dst = (edges.dst + starts[destination]).astype(index)
        proper = src != dst
        src, dst = src[proper], dst[proper]
        rows += [src, dst]
        columns += [dst, src]
    row = np.concatenate([np.empty(0, index), *rows])
    column = np.concatenate([np.empty(0, index), *columns])
    del rows, columns
    coo = sp.coo_array((np.ones(len(row), bool), (row, column)), shape=(num_nodes, num_nodes))
    return coo.tocsr()


def in_degrees(graph: Graph) -> np.ndarray:
    """In-edges of every merged id over all relations, as stored: loops and repetitions count. int64 [N]."""
    degrees = np.zeros(sum(graph.num_nodes.values()), np.int64)
    for (_, _, destination), edges in graph.edges.items():
        start = type_starts(graph)[destination]
        end = start + graph.num_nodes[destination]
        degrees[start:end] += np.bincount(edges.dst, minlength=end - start)
    return degrees

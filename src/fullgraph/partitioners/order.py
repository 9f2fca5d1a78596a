"""The order of nodes inside a part: neighbours near each other in memory, so that a gather hits the cache."""

from collections.abc import Mapping

import numpy as np
import scipy.sparse as sp
from scipy.sparse.csgraph import reverse_cuthill_mckee

from fullgraph.graph.graph import Graph, NodeType
from fullgraph.partitioners.merged import symmetric_adjacency, type_starts

_HUB = 10_000  # neighbours inside the part


def locality_order(graph: Graph, part_of_node: Mapping[NodeType, np.ndarray]) -> dict[NodeType, np.ndarray]:
    """Reverse Cuthill–McKee on each part's own subgraph, symmetrised, all node types merged.

    Nodes with more than 10,000 neighbours in their part come first and are left out of it: they are near to nothing,
    and scipy sorts a node's neighbours by insertion, in quadratic time.

    Args:
        part_of_node: per node type whole numbers [num_nodes].

    Returns:
        Per node type int64 [num_nodes]: the original ids, part after part, in the order to store them.
    """
    adjacency = symmetric_adjacency(graph)
    parts = np.concatenate([part_of_node[node_type] for node_type in graph.num_nodes])
    by_part = np.argsort(parts, kind="stable")
    bounds = np.flatnonzero(np.diff(parts[by_part])) + 1
    order = np.concatenate([owned[_order_of_part(adjacency, owned)] for owned in np.split(by_part, bounds)])
    orders = {}
    for node_type, start in type_starts(graph).items():
        of_type = (order >= start) & (order < start + graph.num_nodes[node_type])
        orders[node_type] = order[of_type] - start
    return orders


def _order_of_part(adjacency: sp.csr_array, owned: np.ndarray) -> np.ndarray:
    own = adjacency[owned][:, owned]
    is_hub = np.diff(own.indptr) > _HUB
    if not is_hub.any():
        return reverse_cuthill_mckee(own, symmetric_mode=True)
    rest = np.flatnonzero(~is_hub)
    return np.concatenate(
        [np.flatnonzero(is_hub), rest[reverse_cuthill_mckee(own[rest][:, rest], symmetric_mode=True)]]
    )

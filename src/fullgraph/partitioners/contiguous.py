"""Consecutive ids stay together: costs nothing, and is good where ids follow the structure (a web crawl by URL)."""

import numpy as np

from fullgraph.graph.graph import Graph, NodeType


def contiguous(graph: Graph, num_parts: int, seed: int) -> dict[NodeType, np.ndarray]:
    """Every type's ids in ranges of equal length, up to one node. Nothing is drawn: ``seed`` is unused."""
    return {
        node_type: (np.arange(count) * num_parts // max(count, 1)).astype(np.int32)
        for node_type, count in graph.num_nodes.items()
    }

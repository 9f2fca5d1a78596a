"""Nodes dealt out at random: the partition with the most communication, to measure others against and to test with."""

import numpy as np

from fullgraph.graph.graph import Graph, NodeType


def random(graph: Graph, num_parts: int, seed: int) -> dict[NodeType, np.ndarray]:
    """Every type's nodes in parts of equal size, up to one node."""
    generator = np.random.default_rng(seed)
    return {
        node_type: (generator.permutation(count) * num_parts // max(count, 1)).astype(np.int32)
        for node_type, count in graph.num_nodes.items()
    }

"""Who gets which node: one algorithm per file, chosen by name; also the order of the nodes inside a part."""

from collections.abc import Callable, Mapping
from typing import Final

import numpy as np

from fullgraph.errors import InputError
from fullgraph.graph.graph import Graph, NodeType
from fullgraph.partitioners.contiguous import contiguous
from fullgraph.partitioners.metis import metis
from fullgraph.partitioners.order import locality_order
from fullgraph.partitioners.random import random
from fullgraph.partitioners.repair import fill_empty_parts

Partitioner = Callable[[Graph, int, int], dict[NodeType, np.ndarray]]

METHODS: Final[Mapping[str, Partitioner]] = {"metis": metis, "random": random, "contiguous": contiguous}

__all__ = ["METHODS", "Partitioner", "assign_parts", "locality_order"]


def assign_parts(graph: Graph, *, num_parts: int, method: str = "metis", seed: int = 0) -> dict[NodeType, np.ndarray]:
    """Say for every node which part owns it.

    Args:
        graph: the whole graph.
        num_parts: parts to cut it in, at most as many as there are nodes.
        method: a key of ``METHODS``.
        seed: same graph, method and seed: same parts.

    Returns:
        Per node type int32 [num_nodes]. Every part owns a node; of one type of several it may own none.

    Raises:
        InputError: on an unknown method, a negative seed, no parts, or more parts than nodes.
    """
    if method not in METHODS:
        raise InputError(f"the partitioning method must be one of {', '.join(METHODS)}: {method!r}")
    if num_parts < 1:
        raise InputError(f"num_parts must be at least 1: {num_parts}")
    if not 0 <= seed < 2**31:
        raise InputError(f"seed must be from 0 to {2**31 - 1}: {seed}")
    num_nodes = sum(graph.num_nodes.values())
    if num_parts > num_nodes:
        raise InputError(
            f"a graph of {num_nodes} nodes cuts into {num_nodes} parts at most, ask for fewer: {num_parts}"
        )
    if num_parts == 1:
        return {t: np.zeros(count, np.int32) for t, count in graph.num_nodes.items()}
    return fill_empty_parts(METHODS[method](graph, num_parts, seed), num_parts)

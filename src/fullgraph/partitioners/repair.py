"""Fills parts that an algorithm left empty, as METIS does on small graphs, so that no rank is without a node."""

import numpy as np

from fullgraph.graph.graph import NodeType


def fill_empty_parts(part_of_node: dict[NodeType, np.ndarray], num_parts: int) -> dict[NodeType, np.ndarray]:
    """Give every empty part the last node of the part that is largest at that moment; the lower number wins a tie.

    Args:
        part_of_node: per node type whole numbers [num_nodes] below num_parts; at least num_parts nodes in all.

    Returns:
        The same arrays when no part is empty, else new ones that differ in one node for each empty part.
    """
    merged = np.concatenate(list(part_of_node.values()))
    sizes = np.bincount(merged, minlength=num_parts)
    empty = np.flatnonzero(sizes == 0)
    if not len(empty):
        return part_of_node
    assert len(merged) >= num_parts, "fewer nodes than parts"
    by_part = np.argsort(merged, kind="stable")
    end = np.cumsum(sizes)
    for part in empty:
        largest = int(np.argmax(sizes))
        end[largest] -= 1
        sizes[largest] -= 1
        merged[by_part[end[largest]]] = part
        sizes[part] = 1
    bounds = np.cumsum([len(parts) for parts in part_of_node.values()])[:-1]
    return dict(zip(part_of_node, np.split(merged, bounds), strict=True))

"""What PyG's loaders do to published files after reading them, in numpy, so that the same file gives the same graph."""

from dataclasses import replace

import numpy as np

from fullgraph.datasets.split import class_split
from fullgraph.graph.graph import EDGE, NODE, Edges, Graph


def planetoid_graph(graph: Graph) -> Graph:
    """Cora, Citeseer, Pubmed: self-loops and repeated edges dropped, sorted by destination, then source."""
    edges, num_nodes = graph.edges[EDGE], graph.num_nodes[NODE]
    proper = edges.src != edges.dst
    dst, src = np.divmod(np.unique(edges.dst[proper] * num_nodes + edges.src[proper]), num_nodes)
    return replace(graph, edges={EDGE: Edges(src=src, dst=dst)})


def undirected_graph(graph: Graph) -> Graph:
    """Amazon and Coauthor: no self-loops, every edge once in both directions, by source; features become 0 or 1.

    They are published without a split; where the file has none either, a seeded one is added.
    """
    edges, num_nodes = graph.edges[EDGE], graph.num_nodes[NODE]
    proper = edges.src != edges.dst
    src, dst = edges.src[proper], edges.dst[proper]
    src, dst = np.divmod(np.unique(np.concatenate([src * num_nodes + dst, dst * num_nodes + src])), num_nodes)
    arrays = dict(graph.node_arrays[NODE])
    if "x" in arrays:
        arrays["x"] = np.where(arrays["x"] > 0, np.float32(1), arrays["x"])
    if "y" in arrays and "train_mask" not in arrays:
        arrays |= class_split(arrays["y"], seed=0)
    return replace(graph, node_arrays={NODE: arrays}, edges={EDGE: Edges(src=src, dst=dst)})

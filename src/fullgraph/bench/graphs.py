"""The graphs that kernels are measured on: one that fits the cache, one that does not, and one with hubs."""

from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch_geometric.data import Data

from fullgraph.bench.contest import quietly
from fullgraph.graph import EDGE, NODE, Graph
from fullgraph.graph.block import Block

NUM_FEATURES = 100
PRODUCTS = (2_449_029, 123_718_152)
"""Nodes and edges of ogbn-products."""


def uniform(num_nodes: int, num_edges: int, seed: int = 0) -> Graph:
    """Every edge joins two nodes drawn alike; 100 normal features."""
    rng = np.random.default_rng(seed)
    return _graph(rng, rng.integers(0, num_nodes, (2, num_edges)), num_nodes)


def chung_lu(num_nodes: int, num_edges: int, exponent: float = 2.2, seed: int = 0) -> Graph:
    """A power law (Chung & Lu 2002): a node is an end of an edge with probability proportional to its weight.

    Args:
        exponent: of the degree distribution, above 2; the i-th largest weight is proportional to
            ``(i + 1) ** (-1 / (exponent - 1))``.
    """
    rng = np.random.default_rng(seed)
    weight = np.arange(1, num_nodes + 1) ** (-1 / (exponent - 1))
    ends = np.searchsorted(np.cumsum(weight / weight.sum()), rng.random((2, num_edges)))
    shuffled = rng.permutation(num_nodes)
    return _graph(rng, shuffled[np.minimum(ends, num_nodes - 1)], num_nodes)


def distinct_edges(graph: Graph) -> Graph:
    """The same graph with every repeated edge once, in order of destinations."""
    edges, num_nodes = graph.edges[EDGE], graph.num_nodes[NODE]
    dst, src = np.divmod(np.unique(edges.dst * num_nodes + edges.src), num_nodes)
    return Graph.homogeneous(np.stack([src, dst]), num_nodes=num_nodes, x=graph.node_arrays[NODE]["x"])


def edge_index_of(graph: Graph) -> Tensor:
    """The edges of a graph of one type, as PyG has them: int64 ``[2, num_edges]``."""
    edges = graph.edges[EDGE]
    return torch.stack([torch.from_numpy(edges.src), torch.from_numpy(edges.dst)]).long()


def pyg_data(graph: Graph) -> Data:
    """A graph of one type as PyG has it, with the number of its classes, if any."""
    arrays: dict[str, Any] = {name: torch.from_numpy(array) for name, array in graph.node_arrays[NODE].items()}
    if "y" in arrays:
        arrays["num_classes"] = int(arrays["y"].max()) + 1
    return Data(edge_index=edge_index_of(graph), **arrays)


def square_block(edge_index: Tensor, num_nodes: int) -> Block:
    """Edges among so many nodes as one block: rows are destinations, columns sources."""
    return Block.from_edges(edge_index[1], edge_index[0], None, num_rows=num_nodes, num_cols=num_nodes)


def adjacency(block: Block, values: Tensor) -> Tensor:
    """The block as torch's compressed rows, with a value for each of its entries."""
    with quietly():
        size = (block.num_rows, block.num_cols)
        return torch.sparse_csr_tensor(block.indptr, block.indices.long(), values, size, check_invariants=False)


def drawn(
    num_nodes: int, num_edges: int, device: torch.device, *, power_law: bool = False, hub: bool = False
) -> Tensor:
    """Edges ``[2, num_edges]`` between nodes drawn alike, or by `chung_lu`'s weights."""
    generator = torch.Generator(device).manual_seed(0)
    if power_law:
        weight = torch.arange(1, num_nodes + 1, device=device, dtype=torch.float64) ** (-1 / 1.2)
        bounds = (weight / weight.sum()).cumsum(0)
        shuffled = torch.randperm(num_nodes, device=device, generator=generator)
        drawn = torch.rand(2, num_edges, device=device, dtype=torch.float64, generator=generator)
        return shuffled[torch.searchsorted(bounds, drawn).clamp_(max=num_nodes - 1)]
    edge_index = torch.randint(num_nodes, (2, num_edges), device=device, generator=generator)
    if hub:
        edge_index[1, : num_edges // 10] = 0
    return edge_index


def products_shaped(num_nodes: int, num_edges: int, device: torch.device) -> Data:
    """A power law with what ogbn-products has per node: 100 features, 47 classes, a tenth of the nodes to train on."""
    edge_index = drawn(num_nodes, num_edges, device, power_law=True).cpu()
    generator = torch.Generator().manual_seed(0)
    x, y = torch.randn(num_nodes, 100, generator=generator), torch.randint(47, (num_nodes,), generator=generator)
    mask = torch.rand(num_nodes, generator=generator) < 0.1
    return Data(x=x, edge_index=edge_index, y=y, train_mask=mask, num_classes=47)


def _graph(rng: np.random.Generator, edge_index: np.ndarray, num_nodes: int) -> Graph:
    x = rng.standard_normal((num_nodes, NUM_FEATURES), dtype=np.float32)
    return Graph.homogeneous(edge_index, num_nodes=num_nodes, x=x)

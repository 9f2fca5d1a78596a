"""``fullgraph.transforms``: what PyG's functions on an ``edge_index`` do, where on one rank's share they would err.

PyG draws from torch's generator, of which every rank has its own, or looks at the edges that one rank has. Here draws
are keyed by (seed, step, call, global id), as dropout is, and answers are about all ranks' edges. On an ordinary
``edge_index`` each of these is PyG's own function.
"""

from typing import Any

import torch
import torch_geometric.utils as pyg
from torch import Tensor

from fullgraph.engine import hashed, keyed_uniform
from fullgraph.errors import InputError, UnsupportedOperation
from fullgraph.pyg.index import RemoteIndex

__all__ = ["contains_self_loops", "dropout_edge", "dropout_node", "is_undirected"]


def dropout_edge(
    edge_index: Tensor, p: float = 0.5, force_undirected: bool = False, training: bool = True
) -> tuple[Tensor, Tensor]:
    """`torch_geometric.utils.dropout_edge`: drop each edge with probability ``p``, the same on any number of ranks.

    Layers walk over the edges that are left, for which walks are built anew: once per call, not once per layer.

    Args:
        edge_index: of ``fullgraph.open``, or some of its edges.
        p: from 0 to 1.
        force_undirected: drop or keep all edges between two nodes together, in both directions. Collective the first
            time. Unlike in PyG they stay where they are.
        training: drop nothing if not.

    Returns:
        The edges that are left, and which these are: bool ``[num_edges]``, to choose their weights by.

    Raises:
        InputError: if ``p`` is no probability.
        UnsupportedOperation: for edges that were not partitioned.
    """
    if not isinstance(edge_index, RemoteIndex):
        return pyg.dropout_edge(edge_index, p, force_undirected, training)
    _check(p)
    if not training or p == 0:
        return edge_index, torch.ones(edge_index.size(1), dtype=torch.bool, device=edge_index.device)
    keys = _pair_keys(edge_index) if force_undirected else edge_index.edge_keys
    if keys is None:
        raise UnsupportedOperation(
            "edges are dropped by where they stand in the graph that was partitioned; drop them before you add others "
            f"to this index with edges: {edge_index.size(1)}"
        )
    kept = _drawn(edge_index, keys) >= p
    return edge_index[:, kept], kept


def dropout_node(
    edge_index: Tensor, p: float = 0.5, num_nodes: int | None = None, training: bool = True
) -> tuple[Tensor, Tensor, Tensor]:
    """`torch_geometric.utils.dropout_node`: drop nodes with probability ``p``, and their edges. Collective.

    Args:
        edge_index: of ``fullgraph.open``, or some of its edges; between nodes of one type.
        p: from 0 to 1.
        num_nodes: for an ordinary ``edge_index`` alone.
        training: drop nothing if not.

    Returns:
        The edges that are left, which these are, bool ``[num_edges]``, and which nodes are left, bool ``[num_nodes]``.
        Nodes keep their rows.

    Raises:
        InputError: if ``p`` is no probability.
    """
    if not isinstance(edge_index, RemoteIndex):
        return pyg.dropout_node(edge_index, p, num_nodes, training)
    _check(p)
    relation = edge_index.relation
    relation.check_square()
    if not training or p == 0:
        edges, nodes = edge_index.size(1), relation.num_dst
        everything = (torch.ones(count, dtype=torch.bool, device=edge_index.device) for count in (edges, nodes))
        return edge_index, *everything  # pyright: ignore[reportReturnType]
    nodes = _drawn(edge_index, relation.dst_ids) >= p
    edges = nodes[edge_index[0]] & nodes[edge_index[1]]
    return edge_index[:, edges], edges, nodes


def is_undirected(edge_index: Tensor) -> bool:
    """Whether every edge has its reverse, as often: `torch_geometric.utils.is_undirected`. Collective.

    Directions are compared by sums of 64-bit hashes over all ranks, so a directed graph passes with a probability of
    about ``2**-64``.
    """
    if not isinstance(edge_index, RemoteIndex):
        return pyg.is_undirected(edge_index)
    src, dst, num_nodes = _global_ends(edge_index)
    sums = torch.stack([hashed(src * num_nodes + dst).sum(), hashed(dst * num_nodes + src).sum()])
    forward, backward = edge_index.graph.world.all_reduce(sums).tolist()
    return forward == backward


def contains_self_loops(edge_index: Tensor) -> bool:
    """Whether any rank has a self-loop: `torch_geometric.utils.contains_self_loops`. Collective."""
    if not isinstance(edge_index, RemoteIndex):
        return pyg.contains_self_loops(edge_index)
    loops = (~edge_index.is_no_loop).sum()
    return bool(edge_index.graph.world.all_reduce(loops) > 0)


def _drawn(edge_index: RemoteIndex, keys: Tensor) -> Tensor:
    return keyed_uniform((len(keys),), edge_index.graph.randomness.draw(), keys, torch.float64)


def _pair_keys(edge_index: RemoteIndex) -> Tensor:
    """A key that all edges between the same two nodes share."""

    def compute() -> Tensor:
        src, dst, num_nodes = _global_ends(edge_index)
        return torch.minimum(src, dst) * num_nodes + torch.maximum(src, dst)

    return edge_index.constant("pair keys", None, compute)


def _global_ends(edge_index: RemoteIndex) -> tuple[Tensor, Tensor, int]:
    """Original ids of both ends of each edge, and how many nodes there are."""
    relation: Any = edge_index.relation
    relation.check_square()
    ids = relation.dst_ids
    return ids[edge_index[0]], ids[edge_index[1]], relation.graph.num_global_nodes[relation.name[0]]


def _check(p: float) -> None:
    if not 0 <= p <= 1:
        raise InputError(f"the probability of dropping must be from 0 to 1: {p}")

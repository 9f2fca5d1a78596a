"""MeshCNNConv: four in-edges per node whose order means something, which a partitioned graph has to bring back."""

from typing import Any

import torch
import torch_geometric.nn as pyg
from torch import Tensor

from fullgraph.errors import UnsupportedOperation
from fullgraph.pyg.index import RemoteIndex, edges_at
from fullgraph.pyg.rules.any_layer import AnyLayer


class MeshCNNConv(AnyLayer, pyg.MeshCNNConv):
    """Hanocka 2019, §4: the four neighbours of a mesh's edge, in the order of the original graph."""

    def decomposition(self) -> None:
        """None: its message takes the four edges of a node together, by their order."""

    def forward(self, x: Tensor, edge_index: Any) -> Tensor:
        if not isinstance(edge_index, RemoteIndex):
            return super().forward(x, edge_index)
        graph = self.rank_graph
        in_order = edge_index.constant("mesh", None, lambda: graph.world.together(lambda: _in_order(edge_index)))
        return super().forward(x, in_order)


def _in_order(index: RemoteIndex) -> RemoteIndex:
    keys = index.edge_keys
    if keys is None:
        raise UnsupportedOperation("MeshCNNConv needs the edges of the graph as they were partitioned, not others")
    order = torch.argsort(keys)
    dst, keys = index.plain[1 - index.remote_row][order].view(-1), keys[order]
    fours = len(keys) == 4 * index.relation.num_dst and bool(
        (keys.view(-1, 4) == keys[::4, None] + torch.arange(4, device=keys.device)).all()
    )
    if not fours or bool((keys[::4] % 4).any()) or bool((dst.view(-1, 4) != dst[::4, None]).any()):
        raise UnsupportedOperation(
            "MeshCNNConv needs a graph whose edges 4 i to 4 i + 3 lead into one node, in the order a, b, c, d, for "
            f"every node; this rank has {index.relation.num_dst} nodes with edges: {len(keys)}"
        )
    return edges_at(index, order)

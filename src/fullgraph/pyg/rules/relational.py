"""R-GCN: one walk per edge type, built once, and the whole graph's node ids where a layer is given no features.

PyG chooses the edges of each type anew in every forward, which would build every walk anew.
"""

from typing import Any

import torch
import torch_geometric.nn as pyg
from torch import Tensor

from fullgraph.errors import InputError
from fullgraph.pyg.index import RemoteIndex, edges_at
from fullgraph.pyg.narrow import narrowed
from fullgraph.pyg.rules.aggregating import Aggregating
from fullgraph.pyg.rules.any_layer import AnyLayer
from fullgraph.pyg.rules.ways import can_walk


class RGCNConv(Aggregating, pyg.RGCNConv):
    """Schlichtkrull 2018, eq. 2, with both of its regularisations (§2.2)."""

    def forward(self, x: Any, edge_index: Any, edge_type: Tensor | None = None) -> Tensor:
        if not isinstance(edge_index, RemoteIndex):
            return super().forward(x, edge_index, edge_type)
        x_src, x_dst = _both_ends(self, x, edge_index)
        ids_in_blocks = self.num_blocks is not None and not x_dst.is_floating_point()  # which PyG refuses
        if edge_type is None or ids_in_blocks or not can_walk(self, edge_index):
            return super().forward((x_src, x_dst), edge_index, edge_type)
        out = torch.zeros(len(x_dst), self.out_channels, device=x_dst.device)
        # Unbound at once: the gradient of one slice of all weights is a tensor of the size of all weights.
        for edges, weight in zip(
            _by_type(edge_index, edge_type, self.num_relations), self._weights().unbind(), strict=True
        ):
            if self.num_blocks is not None:
                rows = self.propagate(edges, x=x_src).view(len(x_dst), *weight.shape[:2])
                out = out + torch.einsum("abc,bcd->abd", rows, weight).reshape(len(x_dst), self.out_channels)
            elif x_src.is_floating_point():
                out = out + self.propagate(edges, x=x_src) @ weight
            else:
                out = out + self.propagate(edges, x=weight[x_src])
        if self.root is not None:
            out = out + (x_dst @ self.root if x_dst.is_floating_point() else self.root[x_dst])  # pyright: ignore[reportOptionalSubscript]
        return out if self.bias is None else out + self.bias

    def _weights(self) -> Tensor:
        """``[num_relations, in, out]``, or with blocks ``[num_relations, num_blocks, in / num_blocks, …]``."""
        if self.num_bases is None:
            return self.weight
        flat = self.comp @ self.weight.view(self.num_bases, -1)  # pyright: ignore[reportOptionalOperand]
        return flat.view(self.num_relations, self.in_channels_l, self.out_channels)


class FastRGCNConv(AnyLayer, pyg.FastRGCNConv):
    """The same layer with a weight per edge."""

    def forward(self, x: Any, edge_index: Any, edge_type: Tensor | None = None) -> Tensor:
        if not isinstance(edge_index, RemoteIndex):
            return super().forward(x, edge_index, edge_type)
        x_src, x_dst = _both_ends(self, x, edge_index)
        if not x_src.is_floating_point():
            # PyG takes the source's place in the graph here, whatever the integers are.
            x_src, _ = _both_ends(self, None, edge_index)
        return super().forward((x_src, x_dst), edge_index, edge_type)

    def message(self, x_j: Tensor, edge_type: Tensor, edge_index_j: Tensor) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        """``edge_index_j`` counts a rank's rows; the ids that were fetched are those of the whole graph."""
        return super().message(x_j, edge_type, edge_index_j if x_j.is_floating_point() else x_j)


def _both_ends(conv: pyg.RGCNConv, x: Any, index: RemoteIndex) -> tuple[Tensor, Tensor]:
    """Rows of sources and of destinations; ids for None, as PyG counts all nodes there."""
    x_src, x_dst = x if isinstance(x, tuple | list) else (x, x)
    if x_src is None:
        relation = index.relation
        num_nodes = relation.graph.num_global_nodes.get(relation.name[0])
        if not relation.square or conv.in_channels_l != num_nodes:
            raise InputError(
                f"{type(conv).__name__} without features needs in_channels to be the number of nodes of the whole "
                f"graph, {num_nodes} of type {relation.name[0]!r}: {conv.in_channels_l}"
            )
        x_src = relation.dst_ids
    return x_src, x_src if x_dst is None else x_dst


def _by_type(index: RemoteIndex, edge_type: Tensor, num_types: int) -> list[RemoteIndex]:
    """The edges of each type; made once for an ``edge_type`` that does not change."""

    def chosen() -> list[RemoteIndex]:
        return [narrowed(edges_at(index, edge_type == kind)) for kind in range(num_types)]

    return index.constant(("by type", num_types), edge_type, chosen)

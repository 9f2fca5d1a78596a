"""R-GCN: one walk per edge type, built once; PyG chooses the edges of each type anew in every forward."""

from typing import Any

import torch
import torch_geometric.nn as pyg
from torch import Tensor

from fullgraph.pyg.data.edge_index import EdgeRows
from fullgraph.pyg.data.edges import Edges
from fullgraph.pyg.general.any_layer import edges_between
from fullgraph.pyg.general.border import own
from fullgraph.pyg.general.choice import can_walk
from fullgraph.pyg.rules.aggregating import Aggregating
from fullgraph.rows import Rows


class RGCNConv(Aggregating, pyg.RGCNConv):
    """Schlichtkrull 2018, eq. 2, with both of its regularisations (§2.2)."""

    def forward(self, x: Any, edge_index: Any, edge_type: Tensor | None = None) -> Tensor:
        x_src, x_dst = x if isinstance(x, tuple | list) else (x, x)
        are_features = all(isinstance(end, Rows) and end.is_floating_point() for end in (x_src, x_dst))
        if edge_type is None or not are_features or not can_walk(self, edge_index):
            return super().forward(x, edge_index, edge_type)
        edges = edges_between(edge_index, {"x": (x_src, x_dst)})
        assert edges is not None
        out: Any = None
        # Unbound at once: the gradient of one slice of all weights is a tensor of the size of all weights.
        for of_type, weight in zip(
            _by_type(edges, edge_type, self.num_relations), self._weights().unbind(), strict=True
        ):
            rows = self.propagate(EdgeRows.of(of_type), x=(x_src, x_dst))
            if self.num_blocks is not None:
                rows = rows.view(rows.size(0), *weight.shape[:2])
                rows = torch.einsum("abc,bcd->abd", rows, weight).reshape(rows.size(0), self.out_channels)
            else:
                rows = rows @ weight
            out = rows if out is None else out + rows
        if self.root is not None:
            out = out + x_dst @ self.root
        return out if self.bias is None else out + self.bias

    def _weights(self) -> Tensor:
        """``[num_relations, in, out]``, or with blocks ``[num_relations, num_blocks, in / num_blocks, …]``."""
        if self.num_bases is None:
            return self.weight
        flat = self.comp @ self.weight.view(self.num_bases, -1)  # pyright: ignore[reportOptionalOperand]
        return flat.view(self.num_relations, self.in_channels_l, self.out_channels)


def _by_type(edges: Edges, edge_type: Tensor, num_types: int) -> list[Edges]:
    """The edges of each type; made once for an ``edge_type`` that does not change."""

    def chosen() -> list[Edges]:
        types = own(edge_type, edges.space)
        return [edges.chosen(edges.space.subset(types == kind)).narrowed() for kind in range(num_types)]

    return edges.constant(("by type", num_types), edge_type, chosen)

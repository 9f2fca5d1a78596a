"""GATConv as one fused, rematerialised pass: no score, weight or message is ever stored per edge."""

from typing import Any

import torch_geometric.nn as pyg
from torch import Tensor
from torch_geometric.utils import add_self_loops, remove_self_loops

from fullgraph.engine import EdgeDropout, attend
from fullgraph.errors import UnsupportedOperation
from fullgraph.pyg.index import RemoteIndex
from fullgraph.pyg.rules.aggregating import can_walk
from fullgraph.pyg.rules.converted import Converted


class GATConv(Converted, pyg.GATConv):
    """Veličković 2018. Asked for its attention weights it takes PyG's own path, which has them per edge."""

    def forward(
        self,
        x: Any,
        edge_index: Any,
        edge_attr: Tensor | None = None,
        size: Any = None,
        return_attention_weights: Any = None,
    ) -> Any:
        x_src, x_dst = (x, x) if isinstance(x, Tensor) else x
        walks = can_walk(self, edge_index) and size is None and return_attention_weights is None
        if not walks or x_dst is None or len(x_src) != edge_index.graph.num_own:
            return super().forward(x, edge_index, edge_attr, size, return_attention_weights)
        shape = (-1, self.heads, self.out_channels)
        if self.lin is not None:
            projected = self.lin(x_src).view(shape)
            projected_dst = projected if x_dst is x_src else self.lin(x_dst).view(shape)
        else:
            projected = self.lin_src(x_src).view(shape)  # pyright: ignore[reportOptionalCall]
            projected_dst = self.lin_dst(x_dst).view(shape)  # pyright: ignore[reportOptionalCall]
        score_dst = (projected_dst * self.att_dst).sum(-1)
        score_src = (projected * self.att_src).sum(-1)
        if self.add_self_loops:
            if edge_attr is not None:
                edge_attr = _with_loop_attributes(edge_index, edge_attr, self.fill_value)
            edge_index = edge_index.with_self_loops
        out = attend(
            projected,
            score_src,
            score_dst,
            edge_index.plan,
            negative_slope=self.negative_slope,
            bias=self._edge_scores(edge_attr),
            dropout=self._dropout(edge_index),
        )
        out = out.flatten(1) if self.concat else out.mean(dim=1)
        if self.res is not None:
            out = out + self.res(x_dst)
        return out if self.bias is None else out + self.bias

    def _edge_scores(self, edge_attr: Tensor | None) -> Tensor | None:
        """``[num_edges, heads]``. The attention vector is folded into the projection, which would be E × H × C."""
        if edge_attr is None or self.lin_edge is None:
            return None
        weight = self.lin_edge.weight.view(self.heads, self.out_channels, -1)
        folded = (weight * self.att_edge.squeeze(0).unsqueeze(-1)).sum(1)
        return edge_attr.view(len(edge_attr), -1) @ folded.t()

    def _dropout(self, index: RemoteIndex) -> EdgeDropout | None:
        if not self.training or self.dropout == 0:
            return None
        if index.edge_keys is None:
            raise UnsupportedOperation(
                "attention dropout needs to know which edge of the whole graph each edge is, but edges of unknown "
                f"origin were added to this edge_index; set the layer's dropout to 0: {self.dropout}"
            )
        return EdgeDropout(p=self.dropout, key=index.graph.randomness.draw(), edge_keys=index.edge_keys)


def _with_loop_attributes(index: RemoteIndex, edge_attr: Tensor, fill_value: Any) -> Tensor:
    """PyG's attributes of added self-loops; ``mean`` and the like read in-edges only, which are all here."""
    ids, kept = remove_self_loops(index.plain, edge_attr)
    _, attributes = add_self_loops(ids, kept, fill_value=fill_value, num_nodes=index.graph.num_own)
    return attributes

"""SuperGATConv: attention as any layer, and its loss on edges and non-edges as a mean over all ranks.

Which pairs are no edges cannot be told from one rank's rows, so the negative edges are the user's to give: sampled once
on the whole graph and partitioned with it, as edges of a type of their own.
"""

from typing import Any

import torch
import torch.nn.functional as F
import torch_geometric.nn as pyg
from torch import Tensor

from fullgraph.engine import keyed_dropout, mean_over_ranks
from fullgraph.errors import UnsupportedOperation
from fullgraph.pyg.index import RemoteIndex
from fullgraph.pyg.rules.any_layer import AnyLayer
from fullgraph.pyg.rules.ways import Choice


class SuperGATConv(AnyLayer, pyg.SuperGATConv):
    """Kim & Oh 2021."""

    def choice(self) -> Choice:
        """In training it scores edges once more, outside its propagation."""
        attention = super().choice()
        return Choice(attention.way, f"{attention.why}; in training it scores edges all at once for its loss")

    def negative_sampling(self, edge_index: Any, num_nodes: int, batch: Any = None) -> Tensor:
        if not isinstance(edge_index, RemoteIndex):
            return super().negative_sampling(edge_index, num_nodes, batch)
        raise UnsupportedOperation(
            "a rank cannot sample pairs without an edge from its own rows; sample negative edges on the whole graph, "
            "partition them with it as edges of another type, and give SuperGATConv in training the argument: "
            "neg_edge_index"
        )

    def positive_sampling(self, edge_index: Any) -> Tensor:
        if not isinstance(edge_index, RemoteIndex):
            return super().positive_sampling(edge_index)
        if self.edge_sample_ratio == 1.0:
            return edge_index
        keys, graph = edge_index.edge_keys, edge_index.graph
        if keys is None:
            raise UnsupportedOperation("SuperGATConv samples from the edges that were partitioned, not from others")
        ones = torch.ones(len(keys), 1, device=keys.device)
        kept = keyed_dropout(ones, 1.0 - self.edge_sample_ratio, graph.randomness.draw(), keys)
        return edge_index[:, kept.view(-1) > 0]

    def get_attention_loss(self) -> Tensor:
        """The mean over all ranks' pairs; its gradient is this rank's share, as that of ``fullgraph.mean_loss``."""
        if not self.training or self.att_x is None:
            return super().get_attention_loss()
        everything = torch.ones(len(self.att_x), dtype=torch.bool, device=self.att_x.device)
        loss = F.binary_cross_entropy_with_logits
        return mean_over_ranks(loss, self.att_x.mean(dim=-1), self.att_y, everything, self.rank_graph.world)  # pyright: ignore[reportArgumentType]

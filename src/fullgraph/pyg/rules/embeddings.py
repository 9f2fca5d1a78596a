"""Models with a learned row per node: a rank reads the rows of its own nodes, by their original ids.

The parameter stays what it is in PyG, all rows on every rank, so that a saved model fits; its gradient is summed over
ranks like any other.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch_geometric.nn import models
from torch_geometric.nn.models.linkx import SparseLinear as _SparseLinear

from fullgraph.engine import mean_over_all, sum_neighbours, sum_of_shares
from fullgraph.errors import InputError
from fullgraph.pyg.index import RemoteIndex
from fullgraph.pyg.rank_graph import RankRelation
from fullgraph.pyg.rules.aggregating import linear
from fullgraph.pyg.rules.converted import Converted
from fullgraph.pyg.rules.ways import can_walk
from fullgraph.pyg.rules.whole_graph import check_partitioned, refuse


def _own_rows(weight: Tensor, relation: RankRelation) -> Tensor:
    relation.check_square()
    num_nodes = relation.graph.num_global_nodes[relation.name[0]]
    if len(weight) != num_nodes:
        raise InputError(
            f"a model with a row per node needs as many as the whole graph has, {num_nodes} (data.num_global_nodes): "
            f"{len(weight)}"
        )
    return weight.index_select(0, relation.dst_ids)


class SparseLinear(linear(_SparseLinear), _SparseLinear):  # pyright: ignore[reportGeneralTypeIssues, reportUntypedBaseClass]
    """The adjacency matrix times a learned one, within LINKX."""

    def forward(self, edge_index: Any, edge_weight: Tensor | None = None) -> Tensor:
        if not isinstance(edge_index, RemoteIndex):
            return super().forward(edge_index, edge_weight)
        rows = _own_rows(self.weight, edge_index.relation)
        if can_walk(self, edge_index):
            out = sum_neighbours(rows, edge_index.plan, edge_weight)
        else:
            out = self.propagate(edge_index, weight=rows, edge_weight=edge_weight)
        return out if self.bias is None else out + self.bias


class LightGCN(Converted, models.LightGCN):
    """He 2020; links are edges that were partitioned with the graph, losses are means over all ranks."""

    alpha: Any

    def get_embedding(self, edge_index: Any, edge_weight: Tensor | None = None) -> Tensor:
        if not isinstance(edge_index, RemoteIndex):
            return super().get_embedding(edge_index, edge_weight)
        x = _own_rows(self.embedding.weight, edge_index.relation)
        out = x * self.alpha[0]
        for conv, share in zip(self.convs, self.alpha[1:], strict=True):
            x = conv(x, edge_index, edge_weight)
            out = out + x * share
        return out

    def forward(
        self, edge_index: Any, edge_label_index: Tensor | None = None, edge_weight: Tensor | None = None
    ) -> Tensor:
        if isinstance(edge_index, RemoteIndex) and edge_label_index is not None:
            check_partitioned(edge_label_index, "edge_label_index")
        return super().forward(edge_index, edge_label_index, edge_weight)

    def recommend(self, edge_index: Any, *args: Any, **kwargs: Any) -> Tensor:
        if not isinstance(edge_index, RemoteIndex):
            return super().recommend(edge_index, *args, **kwargs)
        refuse(self, "recommend", "gather the rows of get_embedding with fullgraph.gather_rows and rank them there")

    def link_pred_loss(self, pred: Tensor, edge_label: Tensor, **kwargs: Any) -> Tensor:
        loss = torch.nn.BCEWithLogitsLoss(**{**kwargs, "reduction": "none"})
        return mean_over_all(loss(pred, edge_label.to(pred.dtype)), self.rank_graph.world)

    def recommendation_loss(
        self,
        pos_edge_rank: Tensor,
        neg_edge_rank: Tensor,
        node_id: Tensor | None = None,
        lambda_reg: float = 1e-4,
        **kwargs: Any,
    ) -> Tensor:
        rows = self.embedding.weight if node_id is None else self.embedding.weight[node_id]
        world = self.rank_graph.world
        ranked = mean_over_all(-F.logsigmoid(pos_edge_rank - neg_edge_rank), world)
        num_pairs = world.all_reduce(torch.tensor(len(pos_edge_rank), device=rows.device))
        # Chosen rows add up over ranks; all rows are the same on every rank, which takes its share of them.
        size = rows.square().sum() / (world.num_ranks if node_id is None else 1)
        return ranked + sum_of_shares(lambda_reg * size / num_pairs, world)

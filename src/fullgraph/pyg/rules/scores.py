"""Models that score pairs of nodes: what they average over pairs or rows, they would average over those of one rank."""

from typing import Any

import torch
from torch import Tensor
from torch_geometric.nn import models

from fullgraph.pyg.index import RemoteIndex
from fullgraph.pyg.rules.converted import Converted
from fullgraph.pyg.rules.whole_graph import refuse


class SignedGCN(Converted, models.SignedGCN):
    """Derr 2018; its losses sample pairs without an edge, which a rank cannot."""

    def loss(self, z: Tensor, pos_edge_index: Any, neg_edge_index: Any) -> Tensor:
        self._check(pos_edge_index, "loss")
        return super().loss(z, pos_edge_index, neg_edge_index)

    def nll_loss(self, z: Tensor, pos_edge_index: Any, neg_edge_index: Any) -> Tensor:
        self._check(pos_edge_index, "nll_loss")
        return super().nll_loss(z, pos_edge_index, neg_edge_index)

    def pos_embedding_loss(self, z: Tensor, pos_edge_index: Any) -> Tensor:
        self._check(pos_edge_index, "pos_embedding_loss")
        return super().pos_embedding_loss(z, pos_edge_index)

    def neg_embedding_loss(self, z: Tensor, neg_edge_index: Any) -> Tensor:
        self._check(neg_edge_index, "neg_embedding_loss")
        return super().neg_embedding_loss(z, neg_edge_index)

    def split_edges(self, edge_index: Any, test_ratio: float = 0.2) -> tuple[Tensor, Tensor]:
        if not isinstance(edge_index, RemoteIndex):
            return super().split_edges(edge_index, test_ratio)
        refuse(self, "split_edges", "split the edges of the whole graph before you partition it")

    def test(self, z: Tensor, pos_edge_index: Any, neg_edge_index: Any) -> tuple[float, float]:
        if not isinstance(pos_edge_index, RemoteIndex):
            return super().test(z, pos_edge_index, neg_edge_index)
        refuse(self, "test", "gather the rows with fullgraph.gather_rows and test them on rank 0")

    def _check(self, edge_index: Any, what: str) -> None:
        if isinstance(edge_index, RemoteIndex):
            refuse(
                self,
                what,
                "partition pairs without an edge as edges of a type of their own, and use fullgraph.mean_loss on what "
                "discriminate gives for each kind",
            )


class ARLinkPredictor(Converted, models.ARLinkPredictor):
    """Pairs are scored by what both ends are; the share of repulsion is over the rows of all ranks."""

    def calculate_r_fraction(self, attract_z: Tensor, repel_z: Tensor) -> float:
        sizes = torch.stack([attract_z.square().sum(), repel_z.square().sum()]).detach()
        attract, repel = self.rank_graph.world.all_reduce(sizes)
        return float(repel / (attract + repel + 1e-10))

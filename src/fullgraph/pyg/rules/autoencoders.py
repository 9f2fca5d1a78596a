"""Graph autoencoders: encoders and decoders are exact as they are, their losses are means over all ranks.

A loss is equal on all ranks and its gradient is this rank's share, as that of `fullgraph.mean_loss`. A rank cannot
sample pairs without an edge, so negative edges are given.
"""

from typing import Any

import torch
from torch import Tensor
from torch_geometric.nn import models
from torch_geometric.nn.models.autoencoder import EPS, MAX_LOGSTD

from fullgraph.engine import mean_over_all
from fullgraph.pyg.index import RemoteIndex
from fullgraph.pyg.rules.converted import Converted
from fullgraph.pyg.rules.draws import KeyedDraws
from fullgraph.pyg.rules.whole_graph import check_partitioned, refuse


class InnerProductDecoder(Converted, models.InnerProductDecoder):
    """Of edges; all pairs are not to be had."""

    def forward_all(self, z: Tensor, sigmoid: bool = True) -> Tensor:
        refuse(self, "forward_all", "gather the rows with fullgraph.gather_rows")


class GAE(Converted, models.GAE):
    """Kipf & Welling 2016."""

    def encode(self, *args: Any, **kwargs: Any) -> Tensor:
        # It is called by itself, not as a part of this module's forward, where draws are keyed already.
        with KeyedDraws(self.rank_graph):
            return super().encode(*args, **kwargs)

    def recon_loss(self, z: Tensor, pos_edge_index: Tensor, neg_edge_index: Tensor | None = None) -> Tensor:
        if not isinstance(pos_edge_index, RemoteIndex):
            return super().recon_loss(z, pos_edge_index, neg_edge_index)
        check_partitioned(neg_edge_index, "recon_loss's neg_edge_index")
        found = self.decoder(z, pos_edge_index, sigmoid=True)
        missed = 1 - self.decoder(z, neg_edge_index, sigmoid=True)
        world = self.rank_graph.world
        return mean_over_all(-torch.log(found + EPS), world) + mean_over_all(-torch.log(missed + EPS), world)

    def test(self, z: Tensor, pos_edge_index: Tensor, neg_edge_index: Tensor) -> tuple[Tensor, Tensor]:
        if not isinstance(pos_edge_index, RemoteIndex):
            return super().test(z, pos_edge_index, neg_edge_index)
        refuse(self, "test", "gather the rows with fullgraph.gather_rows and test them on rank 0")


class VGAE(GAE, models.VGAE):
    """Kipf & Welling 2016; noise is keyed by global ids, as dropout is."""

    __mu__: Any
    __logstd__: Any

    def kl_loss(self, mu: Tensor | None = None, logstd: Tensor | None = None) -> Tensor:
        means = self.__mu__ if mu is None else mu
        deviations = self.__logstd__ if logstd is None else logstd.clamp(max=MAX_LOGSTD)
        of_rows = torch.sum(1 + 2 * deviations - means**2 - deviations.exp() ** 2, dim=1)
        return -0.5 * mean_over_all(of_rows, self.rank_graph.world)


class ARGA(GAE, models.ARGA):
    """Pan 2018."""

    def reg_loss(self, z: Tensor) -> Tensor:
        real = torch.sigmoid(self.discriminator(z))
        return mean_over_all(-torch.log(real + EPS), self.rank_graph.world)

    def discriminator_loss(self, z: Tensor) -> Tensor:
        world = self.rank_graph.world
        with KeyedDraws(self.rank_graph):
            real = torch.sigmoid(self.discriminator(torch.randn_like(z)))
            fake = torch.sigmoid(self.discriminator(z.detach()))
        return mean_over_all(-torch.log(real + EPS), world) + mean_over_all(-torch.log(1 - fake + EPS), world)


class ARGVA(ARGA, models.ARGVA):
    """Pan 2018, with a variational encoder, which is a part of its own."""

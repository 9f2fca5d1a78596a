"""GPSConv, SGFormer and Polynormer: message passing as any layer, and attention of every node to every node.

Every pair of rows meets, so there is no halo to be small: the keys and values of all ranks come at once. Performers
and the attention of SGFormer and Polynormer need sums over nodes only, which are summed over ranks.
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
import torch.nn.functional as F
import torch_geometric.nn as pyg
from torch import Tensor
from torch_geometric.nn import models
from torch_geometric.nn.attention import PerformerAttention, PolynormerAttention, SGFormerAttention
from torch_geometric.nn.attention.performer import generalized_kernel
from torch_geometric.nn.models.sgformer import SGModule as _SGModuleOfPyG

from fullgraph.engine import sum_over_ranks, with_halo
from fullgraph.errors import UnsupportedOperation
from fullgraph.pyg.index import RemoteIndex
from fullgraph.pyg.rank_graph import RankRelation
from fullgraph.pyg.rules.converted import Converted, convert_instance
from fullgraph.pyg.rules.ways import Choice, Way


class GPSConv(Converted, pyg.GPSConv):
    """Rampášek 2022; the graph is one graph, so there is no ``batch``."""

    def choice(self) -> Choice:
        """Its own part, without that of the layer within."""
        return Choice(Way.AT_ONCE, "its global attention reads all rows of the graph")

    def forward(self, x: Tensor, edge_index: Any, batch: Tensor | None = None, **kwargs: Any) -> Tensor:
        if not isinstance(edge_index, RemoteIndex):
            return super().forward(x, edge_index, batch, **kwargs)
        if batch is not None:
            raise UnsupportedOperation(
                "a partitioned graph is one graph to GPSConv's global attention; leave out its argument: batch"
            )
        edge_index.relation.check_square()
        with _over_ranks(self.attn, edge_index.relation):  # pyright: ignore[reportArgumentType]
            return super().forward(x, edge_index, None, **kwargs)


class _OfOneGraph(Converted):
    """A model whose attention is over the rows of the one graph that is partitioned."""

    def forward(self, x: Tensor, edge_index: Any, batch: Tensor | None) -> Tensor:
        if not isinstance(edge_index, RemoteIndex):
            return super().forward(x, edge_index, batch)
        largest = max(self.rank_graph.world.gather_objects(int(batch.max()) if batch is not None and len(batch) else 0))
        edge_index.relation.check_square()
        if largest > 0:
            raise UnsupportedOperation(
                "attention over the rows of all ranks knows one graph only; give zeros as batch, not ids of graphs up "
                f"to: {largest}"
            )
        one_graph = torch.zeros(len(x), dtype=torch.long, device=x.device)
        attention = [module for module in self.modules() if type(module) in _RULES]
        with ExitStack() as stack:
            for module in attention:
                stack.enter_context(_over_ranks(module, edge_index.relation))
            return super().forward(x, edge_index, one_graph)


class SGFormer(_OfOneGraph, models.SGFormer):
    """Wu 2023."""


class Polynormer(_OfOneGraph, models.Polynormer):
    """Deng 2024."""


@contextmanager
def _over_ranks(module: torch.nn.Module, relation: RankRelation) -> Iterator[None]:
    """Elsewhere the same kind of attention may be over a row's own few entries, so it is changed for a while only."""
    original = type(module)
    convert_instance(module, _RULES[original], relation.graph)
    module.__dict__["relation"] = relation
    try:
        yield
    finally:
        module.__class__ = original
        del module.__dict__["rank_graph"], module.__dict__["relation"]


class _Multihead(Converted, torch.nn.MultiheadAttention):
    relation: RankRelation

    def forward(self, query: Tensor, key: Tensor, value: Tensor, **options: Any) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        everyone = with_halo(key.squeeze(0), self.relation.everyone).unsqueeze(0)
        return super().forward(query, everyone, everyone, need_weights=False)


class _Performer(Converted, PerformerAttention):
    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        x = x.squeeze(0)
        shape = (1, len(x), self.heads, self.head_channels)
        q, k, v = (projection(x).view(shape).transpose(1, 2) for projection in (self.q, self.k, self.v))
        matrix: Any = self.fast_attn.projection_matrix
        q, k = (generalized_kernel(t, matrix, self.fast_attn.kernel) for t in (q, k))
        world = self.rank_graph.world
        total = sum_over_ranks(k.sum(-2), world).unsqueeze(-1)
        products = sum_over_ranks(k.transpose(-2, -1) @ v, world)
        out = (q @ products) / (q @ total)
        return self.dropout(self.attn_out(out.transpose(1, 2).reshape(len(x), -1))).unsqueeze(0)


class _SGModule(Converted, _SGModuleOfPyG):
    def forward(self, x: Tensor, batch: Tensor) -> Tensor:
        x = self._dropped(self.activation(self.bns[0](self.fcs[0](x))))
        for attention, norm in zip(self.attns, self.bns[1:], strict=True):
            out = (attention(x.unsqueeze(0)).squeeze(0) + x) / 2.0
            x = self._dropped(self.activation(norm(out)))
        return x

    def _dropped(self, x: Tensor) -> Tensor:
        return F.dropout(x, p=self.dropout, training=self.training)


class _SGFormer(Converted, SGFormerAttention):
    relation: RankRelation

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        world, shape = self.rank_graph.world, (x.size(1), self.heads, self.head_channels)
        q, k, v = (projection(x).view(shape) for projection in (self.q, self.k, self.v))
        q, k = (t.masked_fill(t == 0, 1e-6) for t in (q, k))
        q, k = (t / torch.linalg.norm(t, dim=-1, keepdim=True) for t in (q, k))
        products = sum_over_ranks(torch.einsum("lhm,lhd->hmd", k, v), world)
        total = sum_over_ranks(k.sum(0), world)
        num_rows = self.rank_graph.num_global_nodes[self.relation.name[0]]
        above = torch.einsum("nhm,hmd->nhd", q, products) + num_rows * v
        below = torch.einsum("nhm,hm->nh", q, total).unsqueeze(-1) + num_rows
        return (above / below).mean(dim=1).unsqueeze(0)


class _Polynormer(Converted, PolynormerAttention):
    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        world, x = self.rank_graph.world, x.squeeze(0)
        shape = (len(x), self.head_channels, self.heads)
        h, v = self.h_lins(x), self.v(x).view(shape)
        k = self.k(x).sigmoid().view(shape)
        q = k if self.qk_shared else self.q(x).sigmoid().view(shape)
        above = torch.einsum("ndh,dmh->nmh", q, sum_over_ranks(torch.einsum("ndh,nmh->dmh", k, v), world))
        below = torch.einsum("ndh,dh->nh", q, sum_over_ranks(k.sum(0), world)).unsqueeze(1)
        out = (above / (below + 1e-6)).reshape(len(x), -1)
        out = F.relu(self.lin_out(self.lns(out) * (h + self.beta)))
        return self.dropout(out).unsqueeze(0)


_RULES: dict[type, type[Converted]] = {
    torch.nn.MultiheadAttention: _Multihead,
    PerformerAttention: _Performer,
    _SGModuleOfPyG: _SGModule,
    SGFormerAttention: _SGFormer,
    PolynormerAttention: _Polynormer,
}

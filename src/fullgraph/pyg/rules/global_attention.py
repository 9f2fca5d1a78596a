"""GPSConv: message passing as any layer, and beside it attention of every node to every node of the graph.

Every pair of rows meets, so there is no halo to be small: the keys and values of all ranks come at once. Performers
need sums over nodes only, which are summed over ranks.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch_geometric.nn as pyg
from torch import Tensor
from torch_geometric.nn.attention import PerformerAttention
from torch_geometric.nn.attention.performer import generalized_kernel

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
        with self._attention_over_ranks(edge_index.relation):
            return super().forward(x, edge_index, None, **kwargs)

    @contextmanager
    def _attention_over_ranks(self, relation: RankRelation) -> Iterator[None]:
        """Elsewhere the same kind of attention may be over a row's own few entries, so it is changed here alone."""
        original = type(self.attn)
        convert_instance(self.attn, _RULES[original], self.rank_graph)
        self.attn.__dict__["relation"] = relation
        try:
            yield
        finally:
            self.attn.__class__ = original  # pyright: ignore[reportAttributeAccessIssue]
            del self.attn.__dict__["rank_graph"], self.attn.__dict__["relation"]


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


_RULES: dict[type, type[Converted]] = {torch.nn.MultiheadAttention: _Multihead, PerformerAttention: _Performer}

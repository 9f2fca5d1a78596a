"""HANConv: neighbours by relation as in GAT, and relations weighed by a mean over the rows of all ranks."""

from typing import Any

import torch
import torch_geometric.nn as pyg
from torch import Tensor

from fullgraph.engine import Additive, attend, sum_over_ranks
from fullgraph.pyg.index import RemoteIndex
from fullgraph.pyg.rules.attention import Attending, attention_dropout, can_attend


class HANConv(Attending, pyg.HANConv):
    """Wang 2019; its eq. 7 averages over all nodes of a type, of which a rank has its own only."""

    def forward(self, x_dict: Any, edge_index_dict: Any, return_semantic_attention_weights: bool = False) -> Any:
        if not any(isinstance(index, RemoteIndex) for index in edge_index_dict.values()):
            return super().forward(x_dict, edge_index_dict, return_semantic_attention_weights)
        shape = (-1, self.heads, self.out_channels // self.heads)
        rows = {kind: self.proj[kind](x).view(shape) for kind, x in x_dict.items()}
        outs: dict[str, list[Tensor]] = {kind: [] for kind in x_dict}
        for relation, index in edge_index_dict.items():
            src, name, dst = rows[relation[0]], "__".join(relation), rows[relation[-1]]
            alpha = ((src * self.lin_src[name]).sum(-1), (dst * self.lin_dst[name]).sum(-1))
            outs[relation[-1]].append(self._attended(index, src, dst, alpha).relu())
        weighed = {kind: self._weigh(out) if out else (None, None) for kind, out in outs.items()}
        out_dict = {kind: out for kind, (out, _) in weighed.items()}
        if return_semantic_attention_weights:
            return out_dict, {kind: weights for kind, (_, weights) in weighed.items()}
        return out_dict

    def _attended(self, index: Any, src: Tensor, dst: Tensor, alpha: tuple[Tensor, Tensor]) -> Tensor:
        if not can_attend(self, index, src, dst, None, None):
            return self.propagate(index, x=(src, dst), alpha=alpha)
        score, dropout = Additive(self.negative_slope), attention_dropout(self, index)
        return attend(score, index.plan, (src, alpha[0]), (alpha[1],), dropout=dropout).flatten(1)

    def _weigh(self, outs: list[Tensor]) -> tuple[Tensor, Tensor]:
        out = torch.stack(outs)
        world = self.rank_graph.world
        num_rows = world.all_reduce(torch.tensor(out.size(1), device=out.device))
        mean = sum_over_ranks(torch.tanh(self.k_lin(out)).sum(1), world) / num_rows
        weights = (self.q * mean).sum(-1).softmax(0)
        return (weights.view(-1, 1, 1) * out).sum(0), weights

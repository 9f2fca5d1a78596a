"""HGTConv: one softmax over the neighbours of all relations, as one walk over stacked sources.

PyG stacks the key and value rows of one relation after another's and adds offsets to the ids; `stacked` does the same
for rows that lie on several ranks, so that a row travels only for the relations that need it.
"""

import math
from typing import Any
from weakref import ref

import torch
import torch_geometric.nn as pyg
from torch import Tensor
from torch.nn.functional import gelu

from fullgraph.engine import DotProduct, attend
from fullgraph.errors import UnsupportedOperation
from fullgraph.pyg.index import RemoteIndex
from fullgraph.pyg.rules.attention import Attending
from fullgraph.pyg.rules.ways import can_walk
from fullgraph.pyg.stacked import stack


class HGTConv(Attending, pyg.HGTConv):
    """Hu 2020. The prior of a relation is multiplied into its keys, which gives the same scores."""

    def forward(self, x_dict: Any, edge_index_dict: Any) -> Any:
        if not any(isinstance(index, RemoteIndex) for index in edge_index_dict.values()):
            return super().forward(x_dict, edge_index_dict)
        channels = self.out_channels // self.heads
        k, q, v = {}, {}, {}
        for kind, rows in self.kqv_lin(x_dict).items():
            k[kind], q[kind], v[kind] = (t.reshape(len(t), self.heads, channels) for t in rows.tensor_split(3, dim=1))
        keys = [
            self._of_relation(self.k_rel, k[r[0]], r) * self.p_rel["__".join(r)].unsqueeze(-1) for r in edge_index_dict
        ]
        values = [self._of_relation(self.v_rel, v[r[0]], r) for r in edge_index_dict]
        walked = _stacked(edge_index_dict, {kind: len(rows) for kind, rows in q.items()})
        k_all, q_all, v_all = torch.cat(keys), torch.cat(list(q.values())), torch.cat(values)
        if can_walk(self, walked):
            out = attend(DotProduct(1 / math.sqrt(channels)), walked.plan, (k_all, v_all), (q_all,)).flatten(1)
        else:
            prior = k_all.new_ones(walked.size(1), self.heads)
            out = self.propagate(walked, k=k_all, q=q_all, v=v_all, edge_attr=prior)
        outs = dict(zip(q, out.split([len(rows) for rows in q.values()]), strict=True))
        outs = self.out_lin({kind: gelu(rows) for kind, rows in outs.items() if kind in self.dst_node_types})
        for kind, rows in outs.items():
            if rows.size(-1) == x_dict[kind].size(-1):
                alpha = self.skip[kind].sigmoid()
                outs[kind] = alpha * rows + (1 - alpha) * x_dict[kind]
        return outs

    def _of_relation(self, linear: Any, x: Tensor, relation: Any) -> Tensor:
        """``[n, heads, D]`` through the linear map of one relation for each head."""
        place, num_relations = self.edge_types_map[relation], len(self.edge_types)
        weight = linear.weight[torch.arange(self.heads, device=x.device) * num_relations + place]
        return torch.einsum("nhd,hde->nhe", x, weight)


def _stacked(edge_index_dict: Any, num_rows: dict[str, int]) -> RemoteIndex:
    """All relations' edges over stacked rows, made once for the same indices."""
    for relation, index in edge_index_dict.items():
        if not isinstance(index, RemoteIndex) or index.remote_row != 0:
            raise UnsupportedOperation(
                f"HGTConv takes the opened graph's own indices, or edges chosen from them, of the relation: {relation}"
            )
    indices = list(edge_index_dict.values())
    made = indices[0].__dict__.setdefault("stacked", {})
    name = tuple(id(index) for index in indices)
    known, answer = made.get(name, ((), None))
    if answer is not None and all(there() is index for there, index in zip(known, indices, strict=True)):
        return answer
    graph = indices[0].graph
    ids = {relation[2]: index.relation.dst_ids for relation, index in edge_index_dict.items()}
    nothing = indices[0].relation.dst_ids[:0]
    dst_ids: dict[str, Tensor] = {
        kind: ids[kind] if kind in ids else nothing.new_zeros(count) for kind, count in num_rows.items()
    }
    answer = stack(
        indices,
        [(relation, relation[2]) for relation in edge_index_dict],
        {relation: index.relation.num_src for relation, index in edge_index_dict.items()},
        dst_ids,
        graph,
        ("stacked", "to", "stacked"),
    )
    for other, (indices_of_other, _) in list(made.items()):
        if any(there() is None for there in indices_of_other):
            del made[other]
    made[name] = (tuple(ref(index) for index in indices), answer)
    return answer

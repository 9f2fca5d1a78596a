"""HGTConv: one softmax over the neighbours of all relations, as one walk over stacked sources.

PyG stacks the key and value rows of one relation after another's and adds offsets to the ids; here the row spaces are
joined, once for all forwards.
"""

import math
from collections.abc import Mapping
from itertools import accumulate
from typing import Any

import torch
import torch_geometric.nn as pyg
from torch import Tensor
from torch.nn.functional import gelu

from fullgraph.engine import DotProduct, attend
from fullgraph.pyg.data.edge_index import EdgeRows
from fullgraph.pyg.data.edges import Edges, held
from fullgraph.pyg.general.border import made, own
from fullgraph.pyg.general.choice import can_walk
from fullgraph.pyg.rules.attention import Attending
from fullgraph.rows import Away, Rows
from fullgraph.rows.space import Joined, Space


class HGTConv(Attending, pyg.HGTConv):
    """Hu 2020. The prior of a relation is multiplied into its keys, which gives the same scores."""

    def forward(self, x_dict: Any, edge_index_dict: Any) -> Any:
        indices = {tuple(relation): index for relation, index in edge_index_dict.items()}
        walks = all(isinstance(i, EdgeRows) and can_walk(self, i) for i in indices.values())
        if not walks or not all(isinstance(x, Rows) and x._dim == 0 for x in x_dict.values()):
            return super().forward(x_dict, edge_index_dict)
        channels = self.out_channels // self.heads
        k, q, v = {}, {}, {}
        for kind, x in self.kqv_lin(x_dict).items():
            k[kind], q[kind], v[kind] = (
                part.view(part.size(0), self.heads, channels) for part in x.tensor_split(3, dim=1)
            )
        keys = [self._of_relation(self.k_rel, k[r[0]], r) * self.p_rel["__".join(r)].unsqueeze(-1) for r in indices]
        values = [self._of_relation(self.v_rel, v[r[0]], r) for r in indices]
        edges = _stacked({r: i.walked for r, i in indices.items()}, {kind: x._space for kind, x in q.items()})
        k_all, v_all = (own(torch.cat(parts), edges.src_space) for parts in (keys, values))
        q_all = own(torch.cat(list(q.values())), edges.dst_space)
        scale = DotProduct(1 / math.sqrt(channels))
        out = attend(scale, edges.plan, (k_all, v_all), (q_all,)).flatten(1)
        spaces = [x._space for x in q.values()]
        parts = out.split([space.num_own for space in spaces])
        outs = {kind: made(part, space, self) for kind, part, space in zip(q, parts, spaces, strict=True)}
        outs = self.out_lin({kind: gelu(x) for kind, x in outs.items() if kind in self.dst_node_types})
        for kind, x in outs.items():
            if x.size(-1) == x_dict[kind].size(-1):
                alpha = self.skip[kind].sigmoid()
                outs[kind] = alpha * x + (1 - alpha) * x_dict[kind]
        return outs

    def _of_relation(self, linear: Any, x: Tensor, relation: Any) -> Tensor:
        """``[n, heads, D]`` through the linear map of one relation for each head."""
        place, num_relations = self.edge_types_map[relation], len(self.edge_types)
        weight = linear.weight[torch.arange(self.heads, device=x.device) * num_relations + place]
        return torch.einsum("nhd,hde->nhe", x, weight)


def _stacked(by_relation: Mapping[Any, Edges], nodes: Mapping[str, Space]) -> Edges:
    """All relations' edges, from a row for each source of each relation to all types' rows. Collective once."""
    first = next(iter(by_relation.values()))

    def make() -> Edges:
        src_space = Joined(tuple(edges.src_space for edges in by_relation.values()))
        dst_space = Joined(tuple(nodes.values()))
        first_dst = dict(zip(nodes, accumulate((space.num_own for space in nodes.values()), initial=0), strict=False))
        src, dst, first_src = [], [], 0
        for relation, edges in by_relation.items():
            src.append(edges.src_ids + first_src)
            dst.append(edges.dst + first_dst[relation[2]])
            first_src += edges.src_space.num_rows
        way = Away.to(src_space, torch.cat(src))
        space = Joined(tuple(edges.space for edges in by_relation.values()))
        return Edges(space, src_space, dst_space, way.halo, held(way.extended, torch.cat(dst)))

    name = ("stacked", *((relation, edges.space.key) for relation, edges in by_relation.items()), *nodes)
    return first.constant(name, None, make)

"""HGTConv: one softmax over the neighbours of all relations, whose sources PyG stacks and renumbers one after another.

Stacked rows have no owner, so they are laid side by side here: a source row carries its key and value for each
relation, and an edge picks those of its own. That sends a row as many times wider as there are relations.
"""

from typing import Any

import torch
import torch_geometric.nn as pyg
from torch import Tensor
from torch.nn.functional import gelu

from fullgraph.errors import UnsupportedOperation
from fullgraph.pyg.index import RemoteIndex
from fullgraph.pyg.rules.any_layer import ByNeighbourhood


class HGTConv(ByNeighbourhood, pyg.HGTConv):
    """Hu 2020, on several relations of one node type."""

    def forward(self, x_dict: Any, edge_index_dict: Any) -> Any:
        if not any(isinstance(index, RemoteIndex) for index in edge_index_dict.values()):
            return super().forward(x_dict, edge_index_dict)
        if len(x_dict) != 1:
            raise UnsupportedOperation(
                f"HGTConv on a partitioned graph takes one node type with any relations: {', '.join(x_dict)}"
            )
        ((kind, x),) = x_dict.items()
        shape = (len(x), self.heads, self.out_channels // self.heads)
        k, q, v = (t.reshape(shape) for t in self.kqv_lin(x_dict)[kind].tensor_split(3, dim=1))
        keys, values, weights = [], [], []
        for place, (relation, index) in enumerate(edge_index_dict.items()):
            keys.append(self._per_head(self.k_rel, k, relation))
            values.append(self._per_head(self.v_rel, v, relation))
            weight = self.p_rel["__".join(relation)].expand(index.size(1), -1)
            weights.append(torch.cat([weight, weight.new_full((len(weight), 1), place)], dim=1))
        out = self.propagate(
            torch.cat(list(edge_index_dict.values()), dim=1),
            k=torch.stack(keys, dim=1),
            q=q,
            v=torch.stack(values, dim=1),
            edge_attr=torch.cat(weights),
        )
        out = self.out_lin({kind: gelu(out)})[kind]
        if out.size(-1) == x.size(-1):
            alpha = self.skip[kind].sigmoid()
            out = alpha * out + (1 - alpha) * x
        return {kind: out}

    def message(  # pyright: ignore[reportIncompatibleMethodOverride]
        self, k_j: Tensor, q_i: Tensor, v_j: Tensor, edge_attr: Tensor, index: Tensor, ptr: Any, size_i: int | None
    ) -> Tensor:
        if k_j.dim() == 3:
            return super().message(k_j, q_i, v_j, edge_attr, index, ptr, size_i)
        edges, relation = torch.arange(len(k_j), device=k_j.device), edge_attr[:, -1].long()
        return super().message(k_j[edges, relation], q_i, v_j[edges, relation], edge_attr[:, :-1], index, ptr, size_i)

    def _per_head(self, linear: Any, x: Tensor, relation: Any) -> Tensor:
        """``[n, heads, D]`` through the linear maps of one relation."""
        heads = torch.arange(self.heads, device=x.device) * len(self.edge_types) + self.edge_types_map[relation]
        flat = linear(x.transpose(0, 1).reshape(-1, x.size(-1)), heads.repeat_interleave(len(x)))
        return flat.view(self.heads, len(x), -1).transpose(0, 1)

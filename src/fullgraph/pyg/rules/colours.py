"""WLConv: colours by hashed neighbourhoods, numbered in the order in which the whole graph's nodes bring them up."""

from typing import Any

import torch
import torch_geometric.nn as pyg
from torch import Tensor
from torch_geometric.utils import degree

from fullgraph.pyg.index import RemoteIndex
from fullgraph.pyg.rules.converted import Converted
from fullgraph.pyg.rules.ways import Choice, Way


class WLConv(Converted, pyg.WLConv):
    """Weisfeiler & Leman 1968. Every rank keeps PyG's table for the whole graph: one hash per node travels."""

    def choice(self) -> Choice:
        """One number per row."""
        return Choice(Way.AT_ONCE, "one colour per row travels, and one hash per node of the graph to all ranks")

    @torch.no_grad()
    def forward(self, x: Tensor, edge_index: Any) -> Tensor:
        if not isinstance(edge_index, RemoteIndex):
            return super().forward(x, edge_index)
        if x.dim() > 1:
            x = x.argmax(dim=-1)
        colours, dst = x[edge_index[0]], edge_index[1]
        by_destination = colours[torch.argsort(dst)].split(degree(dst, len(x), dtype=torch.long).tolist())
        # Python's hash of a tuple of integers, as PyG takes it, is the same in every process.
        hashes = [
            hash((node, *neighbours.sort()[0].tolist()))
            for node, neighbours in zip(x.tolist(), by_destination, strict=True)
        ]
        relation = edge_index.relation
        everywhere = relation.graph.world.gather_objects((relation.dst_ids.tolist(), hashes))
        for _, value in sorted(pair for there in everywhere for pair in zip(*there, strict=True)):
            self.hashmap.setdefault(value, len(self.hashmap))
        return torch.tensor([self.hashmap[value] for value in hashes], device=x.device)

"""HypergraphConv: from nodes to hyperedges as any layer, and back over the flipped graph."""

import torch_geometric.nn as pyg

from fullgraph.pyg.rules.any_layer import AnyLayer
from fullgraph.pyg.rules.ways import Choice


class HypergraphConv(AnyLayer, pyg.HypergraphConv):
    """Bai 2021, with hyperedges that are numbered, and partitioned, as the nodes are."""

    def choice(self) -> Choice:
        """Its first half alone runs by neighbourhood."""
        first = super().choice()
        return Choice(first.way, f"{first.why}; its way back over the flipped graph is all at once")

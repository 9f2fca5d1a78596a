"""Which layer becomes what on a partitioned graph: one file per family, exact classes only.

A subclass that a user derived is left alone, since it may have changed any method; it runs over the remote-aware index.
"""

import torch
import torch_geometric.nn as pyg

from fullgraph.pyg.rules import aggregating, attention, rowwise
from fullgraph.pyg.rules.converted import Converted, convert_instance, original_class

RULES: dict[type, type[Converted]] = {
    pyg.GCNConv: aggregating.GCNConv,
    pyg.SAGEConv: aggregating.SAGEConv,
    pyg.GINConv: aggregating.GINConv,
    pyg.GraphConv: aggregating.GraphConv,
    pyg.GATConv: attention.GATConv,
    pyg.GATv2Conv: attention.GATv2Conv,
    pyg.TransformerConv: attention.TransformerConv,
    pyg.BatchNorm: rowwise.BatchNorm,
    torch.nn.BatchNorm1d: rowwise.BatchNorm1d,
    torch.nn.Dropout: rowwise.Dropout,
}

__all__ = ["RULES", "Converted", "convert_instance", "original_class"]

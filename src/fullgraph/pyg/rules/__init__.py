"""Which layer becomes what on a partitioned graph: one file per family, exact classes only.

A subclass that a user derived may have changed any method, so it is treated like any other layer without a rule: its
own code runs on complete neighbourhoods.
"""

import torch
import torch_geometric.nn as pyg

from fullgraph.pyg.rules import (
    aggregating,
    attention,
    colours,
    global_attention,
    hgt,
    hyperedges,
    mesh,
    norms,
    quantiles,
    relational,
    rowwise,
    semantic,
    supergat,
)
from fullgraph.pyg.rules.any_layer import by_neighbourhood
from fullgraph.pyg.rules.converted import Converted, convert_instance, original_class
from fullgraph.pyg.rules.ways import Choice, Way

RULES: dict[type, type[Converted]] = {
    pyg.GCNConv: aggregating.GCNConv,
    pyg.SAGEConv: aggregating.SAGEConv,
    pyg.GINConv: aggregating.GINConv,
    pyg.GraphConv: aggregating.GraphConv,
    **{layer: aggregating.linear(layer) for layer in aggregating.LINEAR},
    pyg.GATConv: attention.GATConv,
    pyg.GATv2Conv: attention.GATv2Conv,
    pyg.TransformerConv: attention.TransformerConv,
    pyg.RGCNConv: relational.RGCNConv,
    pyg.FastRGCNConv: relational.FastRGCNConv,
    pyg.HANConv: semantic.HANConv,
    pyg.SuperGATConv: supergat.SuperGATConv,
    pyg.HGTConv: hgt.HGTConv,
    pyg.GPSConv: global_attention.GPSConv,
    pyg.WLConv: colours.WLConv,
    pyg.MeshCNNConv: mesh.MeshCNNConv,
    pyg.HypergraphConv: hyperedges.HypergraphConv,
    pyg.aggr.MedianAggregation: quantiles.MedianAggregation,
    pyg.aggr.QuantileAggregation: quantiles.QuantileAggregation,
    pyg.BatchNorm: rowwise.BatchNorm,
    pyg.HeteroBatchNorm: norms.HeteroBatchNorm,
    pyg.GraphNorm: norms.GraphNorm,
    pyg.PairNorm: norms.PairNorm,
    pyg.MeanSubtractionNorm: norms.MeanSubtractionNorm,
    pyg.GraphSizeNorm: norms.GraphSizeNorm,
    pyg.LayerNorm: norms.LayerNorm,
    pyg.InstanceNorm: norms.InstanceNorm,
    torch.nn.BatchNorm1d: rowwise.BatchNorm1d,
    torch.nn.Dropout: rowwise.Dropout,
}


def rule_of(module: torch.nn.Module) -> type[Converted] | None:
    """The class that ``module`` is moved to; None if it needs none, or has been moved already."""
    if isinstance(module, Converted):
        return None
    rule = RULES.get(type(module))
    if rule is None and isinstance(module, pyg.MessagePassing):
        return by_neighbourhood(type(module))
    return rule


__all__ = ["RULES", "Choice", "Converted", "Way", "convert_instance", "original_class", "rule_of"]

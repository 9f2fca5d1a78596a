"""Which layer becomes what on a partitioned graph: one file per family, exact classes only.

A subclass that a user derived may have changed any method, so it is treated like any other layer without a rule: its
own code runs on some edges at a time.
"""

import torch
import torch_geometric.nn as pyg
from torch_geometric.nn import models

from fullgraph.pyg.rules import (
    aggregating,
    attention,
    autoencoders,
    basic_models,
    colours,
    draws,
    embeddings,
    global_attention,
    hgt,
    hyperedges,
    labels,
    mesh,
    molecules,
    norms,
    quantiles,
    readouts,
    relational,
    scores,
    semantic,
    supergat,
)
from fullgraph.pyg.rules.any_layer import general_rule
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
    pyg.BatchNorm: norms.BatchNorm,
    pyg.HeteroBatchNorm: norms.HeteroBatchNorm,
    pyg.GraphNorm: norms.GraphNorm,
    pyg.PairNorm: norms.PairNorm,
    pyg.MeanSubtractionNorm: norms.MeanSubtractionNorm,
    pyg.GraphSizeNorm: norms.GraphSizeNorm,
    pyg.LayerNorm: norms.LayerNorm,
    pyg.InstanceNorm: norms.InstanceNorm,
    torch.nn.BatchNorm1d: norms.BatchNorm1d,
    torch.nn.Dropout: draws.Dropout,
    **{model: basic_models.rule(model) for model in basic_models.MODELS},
    models.InnerProductDecoder: autoencoders.InnerProductDecoder,
    models.GAE: autoencoders.GAE,
    models.VGAE: autoencoders.VGAE,
    models.ARGA: autoencoders.ARGA,
    models.ARGVA: autoencoders.ARGVA,
    models.linkx.SparseLinear: embeddings.SparseLinear,
    models.LightGCN: embeddings.LightGCN,
    models.LabelPropagation: labels.LabelPropagation,
    models.CorrectAndSmooth: labels.CorrectAndSmooth,
    models.RECT_L: labels.RECT_L,
    models.MaskLabel: labels.MaskLabel,
    models.NeuralFingerprint: molecules.NeuralFingerprint,
    models.AttentiveFP: molecules.AttentiveFP,
    models.SGFormer: global_attention.SGFormer,
    models.Polynormer: global_attention.Polynormer,
    models.SignedGCN: scores.SignedGCN,
    models.ARLinkPredictor: scores.ARLinkPredictor,
}


def rule_of(module: torch.nn.Module) -> type[Converted] | None:
    """The class that ``module`` is moved to; None if it needs none, or has been moved already."""
    if isinstance(module, Converted):
        return None
    rule = RULES.get(type(module))
    if rule is None and isinstance(module, pyg.MessagePassing):
        return general_rule(type(module))
    return rule


def rules_in(model: torch.nn.Module) -> list[tuple[torch.nn.Module, type[Converted]]]:
    """Each module of ``model`` that is to become another, with what it becomes."""
    layers = [m for m in model.modules() if isinstance(m, pyg.MessagePassing | pyg.HeteroBatchNorm)]
    of_layers = {part for layer in layers for part in layer.modules() if isinstance(part, pyg.Aggregation)}
    found = []
    for module in model.modules():
        rule = rule_of(module)
        if isinstance(module, pyg.Aggregation) and module not in of_layers:
            rule = readouts.rule_of(module, rule)
        if rule is not None:
            found.append((module, rule))
    return found


__all__ = ["RULES", "Choice", "Converted", "Way", "convert_instance", "original_class", "rules_in"]

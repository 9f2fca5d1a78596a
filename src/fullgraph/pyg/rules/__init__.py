"""Which layer becomes what on a partitioned graph: one file per family, exact classes only.

A subclass that a user derived may have changed any method, so it is treated like any other layer without a rule: its
own code runs on some edges at a time.
"""

import torch
import torch_geometric.nn as pyg

from fullgraph.pyg.general.any_layer import general_rule
from fullgraph.pyg.general.choice import Choice, Way
from fullgraph.pyg.general.converted import Converted, convert_instance, original_class
from fullgraph.pyg.general.lazy_sizes import is_unsized, unsized
from fullgraph.pyg.rules import aggregating, attention, basic_models, hgt, relational, wl

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
    pyg.HGTConv: hgt.HGTConv,
    pyg.WLConv: wl.WLConv,
    **{model: basic_models.rule(model) for model in basic_models.MODELS},
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
    rules = ((module, rule_of(module)) for module in model.modules())
    return [(module, unsized(rule) if is_unsized(module) else rule) for module, rule in rules if rule is not None]


__all__ = ["RULES", "Choice", "Converted", "Way", "convert_instance", "original_class", "rules_in"]

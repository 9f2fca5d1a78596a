"""Layers whose result on a partitioned graph would differ from their result on the whole one, each with the reason.

Without this list they would run, over the remote-aware index, and be wrong in silence.
"""

from collections.abc import Iterator

import torch
import torch_geometric.nn as pyg
from torch.nn import Module
from torch_geometric.nn import aggr, models

from fullgraph.errors import UnsupportedLayer
from fullgraph.pyg.rules import RULES, original_class
from fullgraph.pyg.rules.basic_models import OfLayers
from fullgraph.pyg.rules.norms import derived_norm, over_all_rows
from fullgraph.pyg.rules.pruned import Prunable, RowWise

_ALL_ROWS = "it normalises over all rows of the graph, of which a rank sees its own only"
_NEIGHBOURS = "it looks for neighbours among all rows of the graph, of which a rank sees its own only"
_FORMAT = "it needs the whole graph in a format of its own"
_COARSER = "it chooses among all rows of the graph, of which a rank sees its own only"
_MOLECULES = "it looks for neighbours among all positions, of which a rank sees its own only"
_WALKS = "it walks over the whole graph by itself"
_POSITIONS = "its result depends on the largest number of in-edges in the whole graph"

_REASONS: dict[type[Module], str] = {
    torch.nn.SyncBatchNorm: "it knows ranks by itself; use torch.nn.BatchNorm1d, which becomes exact over all ranks",
    torch.nn.RReLU: "it draws slopes of its own on each rank",
    torch.nn.BatchNorm2d: _ALL_ROWS,
    torch.nn.BatchNorm3d: _ALL_ROWS,
    torch.nn.InstanceNorm1d: f"{_ALL_ROWS}; use torch_geometric.nn.InstanceNorm, which becomes exact over all ranks",
    pyg.GravNetConv: _NEIGHBOURS,
    pyg.DynamicEdgeConv: _NEIGHBOURS,
    pyg.XConv: _NEIGHBOURS,
    pyg.PANConv: "it needs powers of the whole adjacency matrix",
    pyg.CuGraphSAGEConv: _FORMAT,
    pyg.CuGraphGATConv: _FORMAT,
    pyg.CuGraphRGCNConv: _FORMAT,
    pyg.FusedGATConv: _FORMAT,
    aggr.LSTMAggregation: _POSITIONS,
    aggr.GRUAggregation: _POSITIONS,
    aggr.SetTransformerAggregation: _POSITIONS,
    pyg.TopKPooling: _COARSER,
    pyg.SAGPooling: _COARSER,
    pyg.EdgePooling: _COARSER,
    pyg.ASAPooling: _COARSER,
    pyg.PANPooling: _COARSER,
    pyg.MemPooling: _COARSER,
    pyg.ClusterPooling: _COARSER,
    models.Node2Vec: _WALKS,
    models.MetaPath2Vec: _WALKS,
    models.DeepGraphInfomax: "its summary, corruption and loss are functions over all rows; use its encoder alone",
    models.GraphUNet: _COARSER,
    models.SchNet: _MOLECULES,
    models.DimeNet: _MOLECULES,
    models.GNNFF: _MOLECULES,
    models.ViSNet: _MOLECULES,
    models.GPSE: "it adds a node to each graph, and draws its features",
    models.GPSENodeEncoder: "it takes what GPSE precomputed on whole graphs",
    models.TGNMemory: "it takes events in time, not a graph",
    models.RENet: "it takes events in time, not a graph",
    models.LPFormer: "it multiplies rows of the whole adjacency matrix",
}


def check_layers(model: Module) -> None:
    """Refuse a model with a layer that would not be exact, before anything runs.

    Raises:
        UnsupportedLayer: naming each such layer and why.
    """
    refused = [
        f"{name or 'the model'} ({type(m).__name__}): {reason}"
        for name, m in model.named_modules()
        if (reason := reason_to_refuse(m)) is not None
    ]
    if refused:
        raise UnsupportedLayer(
            "the model cannot give its exact result on a partitioned graph; replace what is named here, "
            f"see docs/your-model.md: {'; '.join(refused)}"
        )


def reason_to_refuse(module: Module) -> str | None:
    """Why this layer would not be exact; None if it would."""
    norm = derived_norm(module)
    if norm is not None:
        return f"it is derived from {norm.__name__}, which reads all rows of the graph; only that one itself is known"
    if isinstance(module, torch.nn.MultiheadAttention | torch.nn.RNNBase) and module.dropout:
        return "it drops numbers by other masks on another number of ranks; leave out its argument dropout"
    if isinstance(module, models.MetaLayer) and module.global_model is not None:
        return "its global model reads all rows of the graph, of which a rank sees its own only"
    if isinstance(module, pyg.ChebConv) and module.normalization is None:
        return "without normalization it needs the largest eigenvalue of the whole graph's Laplacian"
    return next((reason for refused, reason in _REASONS.items() if isinstance(module, refused)), None)


def check_prunable(model: Module, batch_norm: str) -> None:
    """Refuse a model that needs more rows than those its loss depends on, before anything runs.

    Raises:
        UnsupportedLayer: naming each such layer and why.
    """
    refused = [
        f"{name or 'the model'} ({original_class(type(m)).__name__}): {reason}"
        for name, m in _outside_of_layers(model)
        if (reason := _reason_not_to_prune(m, batch_norm)) is not None
    ]
    if refused:
        raise UnsupportedLayer(
            "the model cannot run on a pruned graph; run it on the graph that was pruned, or replace what is named "
            f"here, see docs/pruning.md: {'; '.join(refused)}"
        )


def _outside_of_layers(model: Module, name: str = "") -> Iterator[tuple[str, Module]]:
    """The modules of a model; of what a layer aggregates with, nothing."""
    yield name, model
    for child_name, child in model.named_children():
        if not (isinstance(model, pyg.MessagePassing) and isinstance(child, pyg.Aggregation)):
            yield from _outside_of_layers(child, f"{name}.{child_name}" if name else child_name)


def _reason_not_to_prune(module: Module, batch_norm: str) -> str | None:
    rule = RULES.get(original_class(type(module)))
    takes_rows = rule is not None and issubclass(rule, Prunable | RowWise | OfLayers)
    if isinstance(module, pyg.MessagePassing) and not takes_rows:
        return "it does not walk, or more than once"
    if isinstance(module, pyg.Aggregation) or (rule is not None and not takes_rows):
        return "it reads all rows of the graph"
    uses_statistics = module.training or not getattr(module, "track_running_stats", False)
    if over_all_rows(module) and uses_statistics and batch_norm == "refuse":
        return 'it normalises by all rows of the graph; fullgraph.prune(…, batch_norm="computed") takes those computed'
    return None

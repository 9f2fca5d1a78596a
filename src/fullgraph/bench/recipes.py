"""What papers trained, as a PyG user writes it: models, optimizers and rules for when to stop.

Nothing here knows of ranks: these are the very modules that are compared on one process and on several. Nodes without
features have a learned row.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn import Module
from torch.optim import Adam, AdamW, Optimizer
from torch_geometric.nn import GATConv, GCNConv, RGCNConv

from fullgraph.bench.stopping import Lowest, Patience, Stopping, Window
from fullgraph.pyg.typed_models import LAYERS, Table, Typed, relation_maps


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """A model with how its paper trains it.

    Attributes:
        model: made from the graph.
        optimizer: made from the model.
        stopping: a new rule for each run.
        max_epochs: most epochs.
        target: the type whose nodes are classified; None in a graph of one type.
        inputs: what the model is given of the graph.
        held_out: share of the training nodes that are for validation, in a data set without validation nodes.
        dtype: of all numbers.
    """

    model: Callable[[Any], Module]
    optimizer: Callable[[Module], Optimizer]
    stopping: Callable[[], Stopping]
    max_epochs: int
    target: str | None = None
    inputs: Callable[[Any], tuple[Any, ...]] = lambda data: (data.x_dict, data.edge_index_dict)
    held_out: float = 0.0
    dtype: torch.dtype = torch.float64


class TwoLayers(Module):
    """Two layers with an activation between them, and dropout before each."""

    def __init__(self, conv1: Module, conv2: Module, activation: Callable[[Tensor], Tensor], dropout: float):
        super().__init__()
        self.conv1, self.conv2, self.activation, self.dropout = conv1, conv2, activation, dropout

    def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
        x = F.dropout(x, p=self.dropout, training=self.training)
        x = self.activation(self.conv1(x, edge_index))
        x = F.dropout(x, p=self.dropout, training=self.training)
        return self.conv2(x, edge_index)


class RGCN(Module):
    """Schlichtkrull 2018 without features: two layers, 16 hidden units, basis decomposition."""

    def __init__(self, num_bases: int | None, data: Any):
        super().__init__()
        num_relations = int(data.edge_type.max()) + 1
        self.conv1 = RGCNConv(data.num_nodes, 16, num_relations, num_bases=num_bases)
        self.conv2 = RGCNConv(16, data.num_classes, num_relations, num_bases=num_bases)

    def forward(self, edge_index: Tensor, edge_type: Tensor) -> Tensor:
        hidden = F.relu(self.conv1(None, edge_index, edge_type))
        return self.conv2(hidden, edge_index, edge_type)


class RowsRGCN(Module):
    """R-GCN as the Heterogeneous Graph Benchmark runs it: a learned row for every node, two layers over all relations.

    A layer has a map for each relation and none of the own row; the second one gives the classes of authors.
    """

    def __init__(self, data: Any):
        super().__init__()
        hidden, num_classes, metadata = 64, data["author"].num_classes, data.metadata()
        self.rows = torch.nn.ModuleDict({kind: Table(data.num_nodes_dict[kind], hidden) for kind in metadata[0]})
        self.conv1, self.conv2 = (relation_maps(metadata, hidden, width) for width in (hidden, num_classes))

    def forward(self, x_dict: dict[str, Tensor], edge_index_dict: dict[tuple[str, str, str], Tensor]) -> Tensor:
        hidden = self.conv1({kind: rows() for kind, rows in self.rows.items()}, edge_index_dict)
        return self.conv2({kind: rows.relu() for kind, rows in hidden.items()}, edge_index_dict)["author"]


def _gcn(data: Any) -> Module:
    """Kipf & Welling 2017: 16 hidden units."""
    return TwoLayers(GCNConv(data.num_features, 16), GCNConv(16, data.num_classes), F.relu, 0.5)


def _gat(data: Any) -> Module:
    """Veličković 2018: 8 heads of 8 units, then one head."""
    first = GATConv(data.num_features, 8, heads=8, dropout=0.6)
    return TwoLayers(first, GATConv(64, data.num_classes, heads=1, concat=False, dropout=0.6), F.elu, 0.6)


def _typed(name: str, heads: int, data: Any) -> Module:
    widths, classes = {kind: x.shape[1] for kind, x in data.x_dict.items()}, data["paper"].num_classes
    arguments = (widths, data.num_nodes_dict, LAYERS[name], data.metadata(), "paper", classes)
    return Typed(*arguments, heads=heads, dropout=0.6)


def _adam_of_gcn(model: Module) -> Optimizer:
    """Which decays the first layer alone."""
    first, second = (list(model.get_submodule(name).parameters()) for name in ("conv1", "conv2"))
    return Adam([{"params": first, "weight_decay": 5e-4}, {"params": second, "weight_decay": 0.0}], lr=0.01)


def _all(kind: Callable[..., Optimizer], lr: float, weight_decay: float, model: Module) -> Optimizer:
    """The same rate and decay for all parameters."""
    return kind(model.parameters(), lr=lr, weight_decay=weight_decay)


def _normalised(data: Any) -> tuple[Tensor, Tensor]:
    return data.x / data.x.sum(dim=1, keepdim=True).clamp(min=1), data.edge_index


_PLAIN = {"inputs": _normalised, "dtype": torch.float32}
_ENTITIES = {"inputs": lambda data: (data.edge_index, data.edge_type), "stopping": Lowest, "max_epochs": 50}
_TYPES = {"stopping": Lowest, "max_epochs": 200}
_PAPERS = {"target": "paper", **_TYPES}

RECIPES = {
    "GCN": Recipe(model=_gcn, optimizer=_adam_of_gcn, stopping=Window, max_epochs=200, **_PLAIN),
    "GAT": Recipe(
        model=_gat, optimizer=partial(_all, Adam, 0.005, 5e-4), stopping=Patience, max_epochs=100_000, **_PLAIN
    ),
    "R-GCN on hgb_acm": Recipe(
        model=partial(_typed, "rgcn", 1), optimizer=partial(_all, AdamW, 0.001, 0.01), **_PAPERS
    ),
    "R-GCN on hgb_dblp": Recipe(
        model=RowsRGCN, optimizer=partial(_all, AdamW, 0.01, 0.0), target="author", held_out=0.2, **_TYPES
    ),
    "R-GCN on rdf_aifb": Recipe(model=partial(RGCN, None), optimizer=partial(_all, Adam, 0.01, 0.0), **_ENTITIES),
    "R-GCN on rdf_mutag": Recipe(model=partial(RGCN, 30), optimizer=partial(_all, Adam, 0.01, 5e-4), **_ENTITIES),
    "R-GCN on quick": Recipe(model=partial(_typed, "rgcn", 1), optimizer=partial(_all, AdamW, 0.01, 1e-3), **_PAPERS),
    "HGT on quick": Recipe(model=partial(_typed, "hgt", 4), optimizer=partial(_all, AdamW, 0.01, 1e-3), **_PAPERS),
}

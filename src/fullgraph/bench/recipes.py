"""What papers trained, as a PyG user writes it: models, optimizers and rules for when to stop.

Nothing here knows of ranks: these are the very modules that are compared on one process and on several. Nodes without
features have a learned row.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn import Module
from torch.optim import Adam, AdamW, Optimizer
from torch_geometric.nn import GATConv, GCNConv, RGCNConv

from fullgraph.bench.stopping import Last, Lowest, Patience, Stopping, Window
from fullgraph.pyg.typed_models import LAYERS, Metadata, Table, Typed, relation_maps


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

    def __init__(self, num_nodes: int, num_relations: int, num_classes: int, num_bases: int | None):
        super().__init__()
        self.conv1 = RGCNConv(num_nodes, 16, num_relations, num_bases=num_bases)
        self.conv2 = RGCNConv(16, num_classes, num_relations, num_bases=num_bases)

    def forward(self, edge_index: Tensor, edge_type: Tensor) -> Tensor:
        hidden = F.relu(self.conv1(None, edge_index, edge_type))
        return self.conv2(hidden, edge_index, edge_type)


class RowsRGCN(Module):
    """R-GCN as the Heterogeneous Graph Benchmark runs it: a learned row for every node, two layers over all relations.

    A layer has a map for each relation and none of the own row; the second one gives the classes of the target type.
    """

    def __init__(self, num_nodes: Mapping[str, int], metadata: Metadata, target: str, num_classes: int):
        super().__init__()
        hidden = 64
        self.rows = torch.nn.ModuleDict({kind: Table(num_nodes[kind], hidden) for kind in metadata[0]})
        self.conv1 = relation_maps(metadata, hidden, hidden)
        self.conv2 = relation_maps(metadata, hidden, num_classes)
        self.target = target

    def forward(self, x_dict: dict[str, Tensor], edge_index_dict: dict[tuple[str, str, str], Tensor]) -> Tensor:
        hidden = self.conv1({kind: rows() for kind, rows in self.rows.items()}, edge_index_dict)
        return self.conv2({kind: rows.relu() for kind, rows in hidden.items()}, edge_index_dict)[self.target]


def _gcn(data: Any) -> Module:
    """Kipf & Welling 2017: 16 hidden units."""
    return TwoLayers(GCNConv(data.num_features, 16), GCNConv(16, data.num_classes), F.relu, 0.5)


def _gat(data: Any) -> Module:
    """Veličković 2018: 8 heads of 8 units, then one head."""
    first = GATConv(data.num_features, 8, heads=8, dropout=0.6)
    return TwoLayers(first, GATConv(64, data.num_classes, heads=1, concat=False, dropout=0.6), F.elu, 0.6)


def _rgcn(num_bases: int | None) -> Callable[[Any], Module]:
    return lambda data: RGCN(data.num_nodes, int(data.edge_type.max()) + 1, data.num_classes, num_bases)


def _rows_rgcn(target: str) -> Callable[[Any], Module]:
    return lambda data: RowsRGCN(data.num_nodes_dict, data.metadata(), target, data[target].num_classes)


def _typed(name: str, target: str, heads: int = 1) -> Callable[[Any], Module]:
    def make(data: Any) -> Module:
        widths = {kind: x.shape[1] for kind, x in data.x_dict.items()}
        classes, layer = data[target].num_classes, LAYERS[name]
        return Typed(widths, data.num_nodes_dict, layer, data.metadata(), target, classes, heads=heads, dropout=0.6)

    return make


def _all(kind: type[Optimizer], lr: float, weight_decay: float) -> Callable[[Module], Optimizer]:
    """The same rate and decay for all parameters."""
    return lambda model: kind(model.parameters(), lr=lr, weight_decay=weight_decay)  # pyright: ignore[reportCallIssue]


def _adam_of_gcn(model: Module) -> Optimizer:
    """Which decays the first layer alone."""
    first, second = (list(model.get_submodule(name).parameters()) for name in ("conv1", "conv2"))
    return Adam([{"params": first, "weight_decay": 5e-4}, {"params": second, "weight_decay": 0.0}], lr=0.01)


def _of_rows(data: Any) -> tuple[Tensor, Tensor]:
    return data.x / data.x.sum(dim=1, keepdim=True).clamp(min=1), data.edge_index


def _of_kinds(data: Any) -> tuple[Tensor, Tensor]:
    return data.edge_index, data.edge_type


_PLAIN = {"inputs": _of_rows, "dtype": torch.float32}
_ENTITIES = {"inputs": _of_kinds, "stopping": Last, "max_epochs": 50}
_TYPES = {"stopping": Lowest, "max_epochs": 200}

RECIPES = {
    "GCN": Recipe(model=_gcn, optimizer=_adam_of_gcn, stopping=Window, max_epochs=200, **_PLAIN),
    "GAT": Recipe(model=_gat, optimizer=_all(Adam, 0.005, 5e-4), stopping=Patience, max_epochs=100_000, **_PLAIN),
    "R-GCN on hgb_acm": Recipe(
        model=_typed("rgcn", "paper"), optimizer=_all(AdamW, 0.001, 0.01), target="paper", **_TYPES
    ),
    "R-GCN on hgb_dblp": Recipe(
        model=_rows_rgcn("author"), optimizer=_all(AdamW, 0.01, 0.0), target="author", held_out=0.2, **_TYPES
    ),
    "R-GCN on rdf_aifb": Recipe(model=_rgcn(None), optimizer=_all(Adam, 0.01, 0.0), **_ENTITIES),
    "R-GCN on rdf_mutag": Recipe(model=_rgcn(30), optimizer=_all(Adam, 0.01, 5e-4), **_ENTITIES),
    "R-GCN on quick": Recipe(
        model=_typed("rgcn", "paper"), optimizer=_all(AdamW, 0.01, 1e-3), target="paper", **_TYPES
    ),
    "HGT on quick": Recipe(
        model=_typed("hgt", "paper", heads=4), optimizer=_all(AdamW, 0.01, 1e-3), target="paper", **_TYPES
    ),
}

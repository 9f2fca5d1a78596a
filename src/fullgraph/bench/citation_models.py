"""The models of two papers as a PyG user writes them, with the papers' optimizers and rules for when to stop.

Nothing here knows of ranks: these are the very modules that are compared on one process and on several.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn import Module
from torch_geometric.nn import GATConv, GCNConv

from fullgraph.bench.stopping import Patience, Stopping, Window


class GCN(Module):
    """Kipf & Welling 2017: two layers, 16 hidden units."""

    def __init__(self, num_features: int, num_classes: int):
        super().__init__()
        self.conv1 = GCNConv(num_features, 16)
        self.conv2 = GCNConv(16, num_classes)

    def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
        x = F.dropout(x, p=0.5, training=self.training)
        x = F.relu(self.conv1(x, edge_index))
        x = F.dropout(x, p=0.5, training=self.training)
        return self.conv2(x, edge_index)


class GAT(Module):
    """Veličković 2018: 8 heads of 8 units, then one head."""

    def __init__(self, num_features: int, num_classes: int):
        super().__init__()
        self.conv1 = GATConv(num_features, 8, heads=8, dropout=0.6)
        self.conv2 = GATConv(8 * 8, num_classes, heads=1, concat=False, dropout=0.6)

    def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
        x = F.dropout(x, p=0.6, training=self.training)
        x = F.elu(self.conv1(x, edge_index))
        x = F.dropout(x, p=0.6, training=self.training)
        return self.conv2(x, edge_index)


def _adam_of_gcn(model: Module) -> torch.optim.Optimizer:
    first, second = model.get_submodule("conv1"), model.get_submodule("conv2")
    groups = [
        {"params": list(first.parameters()), "weight_decay": 5e-4},
        {"params": list(second.parameters()), "weight_decay": 0.0},
    ]
    return torch.optim.Adam(groups, lr=0.01)


def _adam_of_gat(model: Module) -> torch.optim.Optimizer:
    return torch.optim.Adam(model.parameters(), lr=0.005, weight_decay=5e-4)


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """A model with how its paper trains it.

    Attributes:
        model: made from the numbers of features and classes.
        optimizer: made from the model.
        stopping: a new rule for each run.
        max_epochs: most epochs.
    """

    model: Callable[[int, int], Module]
    optimizer: Callable[[Module], torch.optim.Optimizer]
    stopping: Callable[[], Stopping]
    max_epochs: int


RECIPES = {
    "GCN": Recipe(model=GCN, optimizer=_adam_of_gcn, stopping=Window, max_epochs=200),
    "GAT": Recipe(model=GAT, optimizer=_adam_of_gat, stopping=Patience, max_epochs=100_000),
}

"""R-GCN and HGT for graphs of several node types, by name: what the command line trains and a user writes by hand.

Types without features have a learned row per node. A graph of one type is the case of one type and one relation.
"""

from collections.abc import Callable, Mapping

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn import Module
from torch_geometric.nn import HeteroConv, HGTConv, Linear, SAGEConv
from torch_geometric.nn.module_dict import ModuleDict
from torch_geometric.nn.resolver import activation_resolver

Metadata = tuple[list[str], list[tuple[str, str, str]]]
Layer = Callable[[int, Metadata, int, str], Module]


class Typed(Module):
    """Rows of every type projected to one width, layers over all relations, a linear layer for the target type.

    Args:
        widths: columns of ``x`` per node type that has features.
        num_nodes: per node type; one without features has as many learned rows.
        layer: one of `LAYERS`.
        metadata: node types and relations.
        target: the type whose nodes are classified.
        num_classes: outputs.
        hidden: columns of every type between the layers.
        num_layers: message passing layers.
        heads: of HGT's attention; divides ``hidden``.
        dropout: on the rows before the first layer and before the last linear one.
        activation: after the projection and after a layer of R-GCN.
    """

    def __init__(
        self,
        widths: Mapping[str, int],
        num_nodes: Mapping[str, int],
        layer: Layer,
        metadata: Metadata,
        target: str,
        num_classes: int,
        *,
        hidden: int = 64,
        num_layers: int = 2,
        heads: int = 1,
        dropout: float = 0.5,
        activation: str = "relu",
    ):
        super().__init__()
        self.project = ModuleDict({kind: Linear(width, hidden) for kind, width in widths.items()})
        self.rows = ModuleDict({kind: Table(num_nodes[kind], hidden) for kind in metadata[0] if kind not in widths})
        self.activation = activation_resolver(activation)
        self.convs = torch.nn.ModuleList(layer(hidden, metadata, heads, activation) for _ in range(num_layers))
        self.last = Linear(hidden, num_classes)
        self.target, self.dropout = target, dropout

    def forward(self, x_dict: dict[str, Tensor], edge_index_dict: dict[tuple[str, str, str], Tensor]) -> Tensor:
        """The target type's scores, ``[num_nodes, num_classes]``."""
        hidden = {str(kind): layer(x_dict[str(kind)]) for kind, layer in self.project.items()}
        hidden |= {str(kind): rows() for kind, rows in self.rows.items()}
        hidden = {kind: self._dropped(self.activation(rows)) for kind, rows in hidden.items()}
        for conv in self.convs:
            hidden |= conv(hidden, edge_index_dict)
        return self.last(self._dropped(hidden[self.target]))

    def _dropped(self, rows: Tensor) -> Tensor:
        return F.dropout(rows, self.dropout, self.training)


class Table(Module):
    """A learned row for each node, ``[num_nodes, dim]``, at first normal with variance ``1 / dim``.

    Where ``num_nodes`` is an opened graph's, each rank has the rows of its nodes, and the optimizer's state for these.
    """

    def __init__(self, num_nodes: int, dim: int):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.randn(num_nodes, dim) / dim**0.5)

    def forward(self) -> Tensor:
        """All rows."""
        return self.weight


class RGCNLayer(Module):
    """Schlichtkrull 2018, eq. 2, with a map for each relation and a map of the own row for each type."""

    def __init__(self, hidden: int, metadata: Metadata, heads: int, activation: str):
        super().__init__()
        self.relations = relation_maps(metadata, hidden, hidden)
        self.own = ModuleDict({kind: Linear(hidden, hidden) for kind in metadata[0]})
        self.activation = activation_resolver(activation)

    def forward(
        self, x_dict: dict[str, Tensor], edge_index_dict: dict[tuple[str, str, str], Tensor]
    ) -> dict[str, Tensor]:
        """New rows of the types that have in-edges."""
        sums = self.relations(x_dict, edge_index_dict)
        return {kind: self.activation(rows + self.own[kind](x_dict[kind])) for kind, rows in sums.items()}


def relation_maps(metadata: Metadata, in_channels: int, out_channels: int) -> HeteroConv:
    """For each relation the mean over the neighbours through a map of its own; a type's relations are added."""
    ends = (in_channels, in_channels)
    convs = {relation: SAGEConv(ends, out_channels, root_weight=False) for relation in metadata[1]}
    return HeteroConv(convs)  # pyright: ignore[reportArgumentType]


def hgt_layer(hidden: int, metadata: Metadata, heads: int, activation: str) -> Module:
    """Hu 2020, which has an activation of its own."""
    return HGTConv(hidden, hidden, metadata, heads=heads)


LAYERS: dict[str, Layer] = {"rgcn": RGCNLayer, "hgt": hgt_layer}

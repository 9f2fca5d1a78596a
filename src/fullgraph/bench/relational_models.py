"""R-GCN and HGT as a PyG user writes them, for graphs with an edge type per edge and for graphs of several node types.

Nothing here knows of ranks, but that nodes without features have a learned row, which lies with the rank that owns it.
"""

from collections.abc import Callable, Mapping

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn import Module
from torch_geometric.nn import HeteroConv, HGTConv, Linear, RGCNConv, SAGEConv

Metadata = tuple[list[str], list[tuple[str, str, str]]]


class RGCN(Module):
    """Schlichtkrull 2018 without features: two layers, 16 hidden units, basis decomposition."""

    def __init__(self, num_nodes: int, num_relations: int, num_classes: int, num_bases: int | None):
        super().__init__()
        self.conv1 = RGCNConv(num_nodes, 16, num_relations, num_bases=num_bases)
        self.conv2 = RGCNConv(16, num_classes, num_relations, num_bases=num_bases)

    def forward(self, edge_index: Tensor, edge_type: Tensor) -> Tensor:
        hidden = F.relu(self.conv1(None, edge_index, edge_type))
        return self.conv2(hidden, edge_index, edge_type)


class Typed(Module):
    """Rows of every type projected to one width, layers over all relations, a linear layer for the target type.

    Args:
        widths: columns of ``x`` per node type that has features.
        rows_of: makes the module that gives a type without features its rows, ``[num_nodes, hidden]``.
        layer: makes a layer that takes and gives ``hidden`` columns of every type.
        metadata: node types and relations.
        target: the type whose nodes are classified.
        num_classes: outputs.
    """

    def __init__(
        self,
        widths: Mapping[str, int],
        rows_of: Callable[[str, int], Module],
        layer: Callable[[int, Metadata], Module],
        metadata: Metadata,
        target: str,
        num_classes: int,
        *,
        hidden: int = 64,
        num_layers: int = 2,
        dropout: float = 0.5,
    ):
        super().__init__()
        self.project = torch.nn.ModuleDict({kind: Linear(width, hidden) for kind, width in widths.items()})
        self.rows = torch.nn.ModuleDict({kind: rows_of(kind, hidden) for kind in metadata[0] if kind not in widths})
        self.convs = torch.nn.ModuleList(layer(hidden, metadata) for _ in range(num_layers))
        self.last = Linear(hidden, num_classes)
        self.target, self.dropout = target, dropout

    def forward(self, x_dict: dict[str, Tensor], edge_index_dict: dict[tuple[str, str, str], Tensor]) -> Tensor:
        hidden = {kind: layer(x_dict[kind]) for kind, layer in self.project.items()}
        hidden |= {kind: rows() for kind, rows in self.rows.items()}
        hidden = {kind: F.dropout(rows.relu(), self.dropout, self.training) for kind, rows in hidden.items()}
        for conv in self.convs:
            hidden |= conv(hidden, edge_index_dict)
        return self.last(F.dropout(hidden[self.target], self.dropout, self.training))


class RowsRGCN(Module):
    """R-GCN as the Heterogeneous Graph Benchmark runs it: a learned row for every node, two layers over all relations.

    A layer has a map for each relation and none of the own row; the second one gives the classes of the target type.
    """

    def __init__(
        self,
        rows_of: Callable[[str, int], Module],
        metadata: Metadata,
        target: str,
        num_classes: int,
        *,
        hidden: int = 64,
    ):
        super().__init__()
        self.rows = torch.nn.ModuleDict({kind: rows_of(kind, hidden) for kind in metadata[0]})
        self.conv1 = relation_maps(metadata, hidden, hidden)
        self.conv2 = relation_maps(metadata, hidden, num_classes)
        self.target = target

    def forward(self, x_dict: dict[str, Tensor], edge_index_dict: dict[tuple[str, str, str], Tensor]) -> Tensor:
        hidden = self.conv1({kind: rows() for kind, rows in self.rows.items()}, edge_index_dict)
        return self.conv2({kind: rows.relu() for kind, rows in hidden.items()}, edge_index_dict)[self.target]


def relation_maps(metadata: Metadata, in_channels: int, out_channels: int) -> HeteroConv:
    """For each relation the mean over the neighbours through a map of its own; a type's relations are added."""
    ends = (in_channels, in_channels)
    convs = {relation: SAGEConv(ends, out_channels, root_weight=False) for relation in metadata[1]}
    return HeteroConv(convs)  # pyright: ignore[reportArgumentType]


def hgt_layer(hidden: int, metadata: Metadata) -> Module:
    """Hu 2020, 4 heads."""
    return HGTConv(hidden, hidden, metadata, heads=4)


class RGCNLayer(Module):
    """Schlichtkrull 2018, eq. 2, with a map for each relation and a map of the own row for each type."""

    def __init__(self, hidden: int, metadata: Metadata):
        super().__init__()
        self.relations = relation_maps(metadata, hidden, hidden)
        self.own = torch.nn.ModuleDict({kind: Linear(hidden, hidden) for kind in metadata[0]})

    def forward(
        self, x_dict: dict[str, Tensor], edge_index_dict: dict[tuple[str, str, str], Tensor]
    ) -> dict[str, Tensor]:
        sums = self.relations(x_dict, edge_index_dict)
        return {kind: (rows + self.own[kind](x_dict[kind])).relu() for kind, rows in sums.items()}

"""R-GCN as a PyG user writes it, for graphs with an edge type per edge and for graphs of several node types.

Nothing here knows of ranks. Nodes without features have a learned row.
"""

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn import Module
from torch_geometric.nn import RGCNConv

from fullgraph.pyg.typed_models import Metadata, Table, relation_maps


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

    def __init__(
        self,
        num_nodes: Mapping[str, int],
        metadata: Metadata,
        target: str,
        num_classes: int,
        *,
        hidden: int = 64,
    ):
        super().__init__()
        self.rows = torch.nn.ModuleDict({kind: Table(num_nodes[kind], hidden) for kind in metadata[0]})
        self.conv1 = relation_maps(metadata, hidden, hidden)
        self.conv2 = relation_maps(metadata, hidden, num_classes)
        self.target = target

    def forward(self, x_dict: dict[str, Tensor], edge_index_dict: dict[tuple[str, str, str], Tensor]) -> Tensor:
        hidden = self.conv1({kind: rows() for kind, rows in self.rows.items()}, edge_index_dict)
        return self.conv2({kind: rows.relu() for kind, rows in hidden.items()}, edge_index_dict)[self.target]

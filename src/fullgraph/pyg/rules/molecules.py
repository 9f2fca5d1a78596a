"""Models that give a row per graph of a batch: their readouts are over the rows of all ranks."""

from typing import Any

import torch
import torch.nn.functional as F
import torch_geometric.nn as pyg
from torch import Tensor
from torch_geometric.nn import models

from fullgraph.engine import Groups, keyed_dropout
from fullgraph.pyg.index import RemoteIndex
from fullgraph.pyg.rules.converted import Converted
from fullgraph.pyg.rules.draws import drop


class NeuralFingerprint(Converted, models.NeuralFingerprint):
    """Duvenaud 2015."""

    def forward(self, x: Tensor, edge_index: Any, batch: Tensor | None = None, batch_size: int | None = None) -> Tensor:
        if not isinstance(edge_index, RemoteIndex):
            return super().forward(x, edge_index, batch, batch_size)
        groups = Groups.of(x, batch, batch_size, edge_index.graph.world)
        shares = []
        for conv, lin in zip(self.convs, self.lins, strict=True):
            x = conv(x, edge_index).sigmoid()
            shares.append(lin(x).softmax(dim=-1))
        return groups.sum(torch.stack(shares).sum(0))


class AttentiveFP(Converted, models.AttentiveFP):
    """Xiong 2019; the attention of a molecule to its atoms is over the atoms of all ranks."""

    def forward(self, x: Tensor, edge_index: Tensor, edge_attr: Tensor, batch: Tensor | None) -> Tensor:
        if not isinstance(edge_index, RemoteIndex):
            return super().forward(x, edge_index, edge_attr, batch)  # pyright: ignore[reportArgumentType]
        x = F.leaky_relu_(self.lin1(x))
        h = self._dropped_rows(F.elu_(self.gate_conv(x, edge_index, edge_attr)))
        x = self.gru(h, x).relu_()
        for conv, gru in zip(self.atom_convs, self.atom_grus, strict=True):
            h = self._dropped_rows(F.elu(conv(x, edge_index)))
            x = gru(h, x).relu()
        groups = Groups.of(x, batch, None, edge_index.graph.world)
        out = groups.sum(x).relu()
        for _ in range(self.num_timesteps):
            h = self._dropped_graphs(F.elu_(self._attend(x, out, groups)))
            out = self.mol_gru(h, out).relu_()
        return self.lin2(self._dropped_graphs(out))

    def _attend(self, x: Tensor, out: Tensor, groups: Groups) -> Tensor:
        """`mol_conv` from the rows to their graphs, Xiong's eq. 3 to 5."""
        conv: pyg.GATConv = self.mol_conv
        rows, graphs = (conv.lin(t).view(-1, conv.heads, conv.out_channels) for t in (x, out))  # pyright: ignore[reportOptionalCall]
        score = (rows * conv.att_src).sum(-1) + groups.spread((graphs * conv.att_dst).sum(-1))
        weight = groups.softmax(F.leaky_relu(score, conv.negative_slope))
        out = groups.sum(self._dropped_rows(weight).unsqueeze(-1) * rows).flatten(1)
        return out if conv.bias is None else out + conv.bias

    def _dropped_rows(self, x: Tensor) -> Tensor:
        return drop(x, self.dropout, self.rank_graph) if self.training and self.dropout else x

    def _dropped_graphs(self, x: Tensor) -> Tensor:
        """A graph's row is the same on all ranks, and so is what is dropped of it."""
        if not self.training or not self.dropout:
            return x
        ids = torch.arange(len(x), device=x.device)
        return keyed_dropout(x, self.dropout, self.rank_graph.randomness.draw(), ids)

"""Layers that take node rows alone: batch norm with the statistics of all ranks, dropout with masks by global id."""

import torch
import torch_geometric.nn as pyg
from torch import Tensor

from fullgraph.engine import batch_norm, keyed_dropout
from fullgraph.errors import UnsupportedLayer
from fullgraph.pyg.rank_graph import RankGraph
from fullgraph.pyg.rules.converted import Converted


class BatchNorm1d(Converted, torch.nn.BatchNorm1d):
    """Ioffe & Szegedy 2015 over the rows of all ranks, running statistics included."""

    def forward(self, input: Tensor) -> Tensor:
        if not self.training and self.track_running_stats:
            return super().forward(input)
        if input.dim() != 2:
            raise UnsupportedLayer(f"BatchNorm1d on a partitioned graph takes rows [n, F], not: {tuple(input.shape)}")
        out, mean, variance, num_rows = batch_norm(input, self.weight, self.bias, self.eps, self.rank_graph.world)
        if self.training and self.track_running_stats:
            self._update(mean, variance * (num_rows / (num_rows - 1)))
        return out

    @torch.no_grad()
    def _update(self, mean: Tensor, unbiased_variance: Tensor) -> None:
        self.num_batches_tracked.add_(1)  # pyright: ignore[reportOptionalMemberAccess]
        share = 1.0 / float(self.num_batches_tracked) if self.momentum is None else self.momentum  # pyright: ignore[reportArgumentType]
        for running, value in ((self.running_mean, mean), (self.running_var, unbiased_variance)):
            if running is not None:
                running.lerp_(value.to(running.dtype), share)


class BatchNorm(Converted, pyg.BatchNorm):
    """PyG's wrapper, whose ``allow_single_element`` would otherwise look at this rank's rows alone."""

    def forward(self, x: Tensor) -> Tensor:
        if self.allow_single_element and self.training and self._num_rows(x) <= 1:
            return super().forward(x[:1]) if len(x) else x
        return self.module(x)

    def _num_rows(self, x: Tensor) -> int:
        return int(self.rank_graph.world.all_reduce(torch.tensor(len(x), device=x.device)))


class Dropout(Converted, torch.nn.Dropout):
    """Masks keyed by the rows' original ids."""

    def forward(self, input: Tensor) -> Tensor:
        return drop(input, self.p, self.rank_graph) if self.training else input


def drop(x: Tensor, p: float, graph: RankGraph) -> Tensor:
    """Draw the next mask and apply it."""
    return keyed_dropout(x, p, graph.randomness.draw(), graph.row_keys(len(x)))

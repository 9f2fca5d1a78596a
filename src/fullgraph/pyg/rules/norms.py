"""Norms over all rows of a graph, torch's batch norm and PyG's, with the statistics of all ranks' rows.

On its own rows a rank would find statistics of its part of the graph. Here each is summed over ranks, the mean first
and then the deviations from it, so that no digits are lost; a sum costs one vector per graph of the batch. ``batch`` is
None for the whole graph, or each row's graph, which may be spread over ranks.
"""

from typing import Any

import torch
import torch_geometric.nn as pyg
from torch import Tensor

from fullgraph.engine import Groups, batch_norm
from fullgraph.errors import InputError, UnsupportedLayer
from fullgraph.pyg.rules.converted import original_class
from fullgraph.pyg.rules.pruned import RowWise
from fullgraph.pyg.rules.ways import Choice, Way


class BatchNorm1d(RowWise, torch.nn.BatchNorm1d):
    """Ioffe & Szegedy 2015 over the rows of all ranks, running statistics included."""

    def choice(self) -> Choice:
        """Row-wise."""
        return Choice(Way.ROW_WISE, "statistics of all ranks")

    def forward(self, input: Tensor) -> Tensor:
        if not self.training and self.track_running_stats:
            return super().forward(input)
        if input.dim() != 2:
            raise UnsupportedLayer(f"BatchNorm1d on a partitioned graph takes rows [n, F], not: {tuple(input.shape)}")
        out, affine, variance, num_rows = batch_norm(input, self.weight, self.bias, self.eps, self.rank_graph.world)
        recipes = self.rank_graph.recipes
        if recipes is not None:
            recipes.note(out, input, affine)
            recipes.spare(out)
        if self.training and self.track_running_stats:
            self._update(affine.mean, variance * (num_rows / (num_rows - 1)))
        return out

    @torch.no_grad()
    def _update(self, mean: Tensor, unbiased_variance: Tensor) -> None:
        self.num_batches_tracked.add_(1)  # pyright: ignore[reportOptionalMemberAccess]
        share = 1.0 / float(self.num_batches_tracked) if self.momentum is None else self.momentum  # pyright: ignore[reportArgumentType]
        for running, value in ((self.running_mean, mean), (self.running_var, unbiased_variance)):
            if running is not None:
                running.lerp_(value.to(running.dtype), share)


class BatchNorm(RowWise, pyg.BatchNorm):
    """PyG's wrapper, whose ``allow_single_element`` would otherwise look at this rank's rows alone."""

    def forward(self, x: Tensor) -> Tensor:
        if self.allow_single_element and self.training and self._num_rows(x) <= 1:
            return super().forward(x[:1]) if len(x) else x
        return self.module(x)

    def _num_rows(self, x: Tensor) -> int:
        return int(self.rank_graph.world.all_reduce(torch.tensor(len(x), device=x.device)))


class _Norm(RowWise):
    """Mixed in front of a norm."""

    def choice(self) -> Choice | None:
        """Row-wise."""
        return Choice(Way.ROW_WISE, "statistics of all ranks")

    def _groups(self, x: Tensor, batch: Tensor | None, batch_size: int | None) -> Groups:
        return Groups.of(x, batch, batch_size, self.rank_graph.world)


class GraphNorm(_Norm, pyg.GraphNorm):
    """Cai 2020."""

    def forward(self, x: Tensor, batch: Tensor | None = None, batch_size: int | None = None) -> Tensor:
        groups = self._groups(x, batch, batch_size)
        out = x - groups.spread(groups.mean(x) * self.mean_scale)
        variance = groups.mean(out.square())
        return self.weight * out / groups.spread((variance + self.eps).sqrt()) + self.bias


class PairNorm(_Norm, pyg.PairNorm):
    """Zhao & Akoglu 2019."""

    def forward(self, x: Tensor, batch: Tensor | None = None, batch_size: int | None = None) -> Tensor:
        groups = self._groups(x, batch, batch_size)
        x = x - groups.spread(groups.mean(x))
        if self.scale_individually:
            return self.scale * x / (self.eps + x.norm(2, -1, keepdim=True))
        square = groups.mean(x.square().sum(-1, keepdim=True))
        return self.scale * x / groups.spread((self.eps + square).sqrt())


class MeanSubtractionNorm(_Norm, pyg.MeanSubtractionNorm):
    """Yang 2020."""

    def forward(self, x: Tensor, batch: Tensor | None = None, dim_size: int | None = None) -> Tensor:
        groups = self._groups(x, batch, dim_size)
        return x - groups.spread(groups.mean(x))


class GraphSizeNorm(_Norm, pyg.GraphSizeNorm):
    """Dwivedi 2020."""

    def choice(self) -> Choice:
        """Row-wise."""
        return Choice(Way.ROW_WISE, "number of rows of all ranks")

    def forward(self, x: Tensor, batch: Tensor | None = None, batch_size: int | None = None) -> Tensor:
        groups = self._groups(x, batch, batch_size)
        return x * groups.spread(groups.counts.to(x.dtype).rsqrt()).view(-1, 1)


class LayerNorm(_Norm, pyg.LayerNorm):
    """Ba 2016, over all entries of all rows of a graph; mode ``node`` needs a row alone."""

    def choice(self) -> Choice | None:
        """Row-wise."""
        return super().choice() if self.mode == "graph" else None

    def forward(self, x: Tensor, batch: Tensor | None = None, batch_size: int | None = None) -> Tensor:
        if self.mode != "graph":
            return super().forward(x, batch, batch_size)
        groups = self._groups(x, batch, batch_size)
        x = x - groups.spread(self._mean(x, groups))
        variance = self._mean(x.square(), groups)
        # PyG adds eps to the standard deviation of a single graph, and to the variances of several.
        if batch is None:
            none = variance == 0
            deviation = variance.masked_fill(none, 1).sqrt().masked_fill(none, 0) + self.eps
        else:
            deviation = (variance + self.eps).sqrt()
        out = x / groups.spread(deviation)
        return out if self.weight is None else out * self.weight + self.bias

    def _mean(self, x: Tensor, groups: Groups) -> Tensor:
        of_rows = x.flatten(1).mean(1)
        return groups.mean(of_rows).view(-1, *[1] * (x.dim() - 1))


class InstanceNorm(_Norm, pyg.InstanceNorm):
    """Ulyanov 2016, each graph an instance; with several graphs, running statistics are their mean."""

    running_mean: Any
    running_var: Any

    def forward(self, x: Tensor, batch: Tensor | None = None, batch_size: int | None = None) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        if self.training or not self.track_running_stats:
            groups = self._groups(x, batch, batch_size)
            if batch is None and int(groups.counts) < 2:
                raise InputError(f"instance norm needs at least 2 rows on all ranks together: {int(groups.counts)}")
            mean = groups.mean(x)
            out = x - groups.spread(mean)
            variance = groups.mean(out.square())
            if self.running_mean is not None:
                self._update(mean, variance, groups)
            out = out / groups.spread((variance + self.eps).sqrt())
        else:
            out = (x - self.running_mean) / (self.running_var + self.eps).sqrt()
        return out if self.weight is None else out * self.weight + self.bias

    @torch.no_grad()
    def _update(self, mean: Tensor, variance: Tensor, groups: Groups) -> None:
        rows = groups.counts.to(mean.dtype).view(-1, 1)
        unbiased = variance * rows / (rows - 1).clamp(min=1)
        for running, value in ((self.running_mean, mean), (self.running_var, unbiased)):
            running.lerp_(value.mean(0).to(running.dtype), self.momentum)


class HeteroBatchNorm(_Norm, pyg.HeteroBatchNorm):
    """Batch norm with the statistics of each node type; PyG takes them for constants in backward."""

    running_mean: Any
    running_var: Any
    num_batches_tracked: Any

    def forward(self, x: Tensor, type_vec: Tensor) -> Tensor:
        if self.training or not self.track_running_stats:
            groups = self._groups(x, type_vec, self.num_types)
            mean = groups.mean(x.detach())
            variance = groups.mean((x.detach() - groups.spread(mean)).square())
            if self.training and self.track_running_stats:
                self._update(mean, variance, groups.counts > 0)
        else:
            mean, variance = self.running_mean, self.running_var
        out = (x - mean[type_vec]) / variance.clamp(self.eps).sqrt()[type_vec]
        return out * self.weight[type_vec] + self.bias[type_vec] if self.affine else out

    @torch.no_grad()
    def _update(self, mean: Tensor, variance: Tensor, present: Tensor) -> None:
        share = self.momentum
        if share is None:
            self.num_batches_tracked.add_(1)
            share = 1.0 / float(self.num_batches_tracked)
        for running, value in ((self.running_mean, mean), (self.running_var, variance)):
            running[present] = running[present].lerp(value[present].to(running.dtype), share)


# Their statistics are those of all rows that they are given, whatever these rows are.
OVER_ALL_ROWS: tuple[type[torch.nn.Module], ...] = (
    torch.nn.BatchNorm1d,
    pyg.HeteroBatchNorm,
    pyg.GraphNorm,
    pyg.PairNorm,
    pyg.MeanSubtractionNorm,
    pyg.GraphSizeNorm,
    pyg.LayerNorm,
    pyg.InstanceNorm,
)


def over_all_rows(module: torch.nn.Module) -> bool:
    """Whether a layer normalises over all rows that it is given; such a layer must be given all of them at once."""
    if isinstance(module, pyg.LayerNorm) and module.mode == "node":
        return False
    return isinstance(module, OVER_ALL_ROWS)


def derived_norm(module: torch.nn.Module) -> type | None:
    """The norm over all rows that a user's class derives from; None if the layer is PyG's own, or none of these."""
    layer = original_class(type(module))
    if not over_all_rows(module) or layer in OVER_ALL_ROWS:
        return None
    return next(norm for norm in OVER_ALL_ROWS if issubclass(layer, norm))

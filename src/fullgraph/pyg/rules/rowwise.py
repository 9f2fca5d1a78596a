"""Layers that take node rows alone: batch norm with the statistics of all ranks, dropout with masks by global id."""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
import torch_geometric.nn as pyg
from torch import Tensor
from torch.overrides import TorchFunctionMode

from fullgraph.engine import batch_norm, keyed_dropout
from fullgraph.errors import UnsupportedLayer, UnsupportedOperation
from fullgraph.pyg.rank_graph import RankGraph
from fullgraph.pyg.rules.converted import Converted
from fullgraph.pyg.rules.ways import Choice, Way


class BatchNorm1d(Converted, torch.nn.BatchNorm1d):
    """Ioffe & Szegedy 2015 over the rows of all ranks, running statistics included."""

    def choice(self) -> Choice:
        """Row-wise."""
        return Choice(Way.ROW_WISE, "statistics of all ranks")

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

    def choice(self) -> Choice:
        """Row-wise."""
        return Choice(Way.ROW_WISE, "masks keyed by global ids")

    def forward(self, input: Tensor) -> Tensor:
        return drop(input, self.p, self.rank_graph) if self.training and self.p else input


def drop(x: Tensor, p: float, graph: RankGraph) -> Tensor:
    """Draw the next mask and apply it."""
    return keyed_dropout(x, p, graph.randomness.draw(), graph.row_keys(len(x)))


class KeyedDropouts(TorchFunctionMode):
    """While it is active, dropout as a function is keyed by global ids too."""

    def __init__(self, graph: RankGraph):
        super().__init__()
        self._graph = graph

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if func is F.dropout:
            return self._dropout(*args, **kwargs)
        if func in _UNKEYED and kwargs.get("training", True):
            raise UnsupportedOperation(
                f"this kind of dropout would differ with the number of ranks; use torch.nn.Dropout: {func.__name__}"
            )
        return func(*args, **kwargs)

    def _dropout(self, input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
        if not training or p == 0:
            return input
        if torch._C._autograd._top_saved_tensors_default_hooks(False) is not None:  # pyright: ignore[reportAttributeAccessIssue]
            raise UnsupportedOperation(
                "F.dropout inside torch.utils.checkpoint would draw another mask when it is recomputed; "
                f"leave that part of the model out of the checkpoint, p is: {p}"
            )
        return drop(input, p, self._graph)


_UNKEYED = {F.alpha_dropout, F.feature_alpha_dropout, F.dropout1d, F.dropout2d, F.dropout3d}

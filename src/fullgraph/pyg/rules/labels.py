"""Models of labels: what they count over the labelled rows, they count over those of all ranks."""

from typing import Any

import torch
from torch import Tensor
from torch_geometric.nn import models
from torch_geometric.utils import one_hot

from fullgraph.engine import Groups, keyed_uniform, sum_over_ranks
from fullgraph.pyg.index import RemoteIndex
from fullgraph.pyg.rules.aggregating import linear
from fullgraph.pyg.rules.converted import Converted


class LabelPropagation(linear(models.LabelPropagation), models.LabelPropagation):  # pyright: ignore[reportGeneralTypeIssues, reportUntypedBaseClass]
    """Zhu & Ghahramani 2002; there are as many classes as on the rank with the largest label."""

    def forward(self, y: Tensor, edge_index: Any, *args: Any, **kwargs: Any) -> Tensor:
        if isinstance(edge_index, RemoteIndex) and y.dtype == torch.long and y.size(0) == y.numel():
            largest = max(self.rank_graph.world.gather_objects(int(y.max()) if y.numel() else -1))
            y = one_hot(y.view(-1), num_classes=largest + 1)
        return super().forward(y, edge_index, *args, **kwargs)


class CorrectAndSmooth(Converted, models.CorrectAndSmooth):
    """Huang 2020; eq. 5's scale is the mean error over the labelled rows of all ranks."""

    def correct(
        self, y_soft: Tensor, y_true: Tensor, mask: Tensor, edge_index: Any, edge_weight: Tensor | None = None
    ) -> Tensor:
        if not isinstance(edge_index, RemoteIndex) or not self.autoscale:
            return super().correct(y_soft, y_true, mask, edge_index, edge_weight)
        if y_true.dtype == torch.long and y_true.size(0) == y_true.numel():
            y_true = one_hot(y_true.view(-1), num_classes=y_soft.size(-1), dtype=y_soft.dtype)
        error = torch.zeros_like(y_soft)
        error[mask] = y_true - y_soft[mask]
        smoothed = self.prop1(error, edge_index, edge_weight=edge_weight, post_step=lambda x: x.clamp_(-1.0, 1.0))
        world = self.rank_graph.world
        rows = world.all_reduce(torch.tensor(len(y_true), device=y_soft.device))
        scale = sum_over_ranks(error[mask].abs().sum(), world) / rows / smoothed.abs().sum(dim=1, keepdim=True)
        scale[scale.isinf() | (scale > 1000)] = 1.0
        return y_soft + scale * smoothed


class RECT_L(Converted, models.RECT_L):
    """Wang 2020; a class's mean is that of its rows on all ranks."""

    @torch.no_grad()
    def get_semantic_labels(self, x: Tensor, y: Tensor, mask: Tensor) -> Tensor:
        groups = Groups.of(x[mask], y[mask], None, self.rank_graph.world)
        return groups.spread(groups.mean(x[mask]))


class MaskLabel(Converted, models.MaskLabel):
    """Shi 2020; which labels are shown is drawn by global ids."""

    def ratio_mask(self, mask: Tensor, ratio: float) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        graph = self.rank_graph
        drawn = keyed_uniform(tuple(mask.shape), graph.randomness.draw(), graph.row_keys(len(mask)), torch.float64)
        return mask & (drawn < ratio)

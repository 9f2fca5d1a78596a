"""Medians and quantiles of neighbours where the first rows have none, which PyG's own code cannot index.

On a whole graph only its first node matters; but the rows of a rank, and each run of them, begin anywhere.
"""

from typing import Any

import torch
import torch_geometric.nn as pyg
from torch import Tensor

from fullgraph.pyg.rules.converted import Converted


class QuantileAggregation(Converted, pyg.aggr.QuantileAggregation):
    """PyG's, with a row in front that has two neighbours and is taken off again."""

    def forward(
        self, x: Tensor, index: Tensor | None = None, ptr: Tensor | None = None, dim_size: Any = None, dim: int = -2
    ) -> Tensor:
        if index is None or dim_size is None:
            return super().forward(x, index, ptr, dim_size, dim)
        dim = dim % x.dim()
        shape = [2 if d == dim else size for d, size in enumerate(x.shape)]
        x = torch.cat([x.new_zeros(shape), x], dim)
        out = super().forward(x, torch.cat([index.new_zeros(2), index + 1]), None, dim_size + 1, dim)
        return out.narrow(dim, 1, dim_size)


class MedianAggregation(QuantileAggregation, pyg.aggr.MedianAggregation):
    """The lower one of two middle values."""

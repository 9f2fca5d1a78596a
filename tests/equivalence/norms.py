"""Every class of ``torch_geometric.nn.norm``: how it is built, and called on the rows of a graph.

docs/layers.md is generated from what is here.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch_geometric.data import Data
from torch_geometric.nn import norm

from tests.equivalence.cases import Case
from tests.equivalence.graphs import NUM_FEATURES as F


def _alone(module: Any, g: Data) -> Tensor:
    return module(g.x)


def _of_several_graphs(module: Any, g: Data) -> Tensor:
    return module(g.x, g.graph_ids)


def _of_counted_graphs(module: Any, g: Data) -> Tensor:
    """One of them has no rows."""
    return module(g.x, g.graph_ids, 4)


def _of_types(module: Any, g: Data) -> Tensor:
    return module(g.x, g.graph_ids)


def _of_messages(module: Any, g: Data) -> Tensor:
    return module(g.x, g.x.flip(1).tanh())


def _by_graphs(build: Callable[..., torch.nn.Module], what: str, **settings: Any) -> list[Case]:
    what = f"{what}, " if what else ""
    return [
        Case(f"{what}{graphs}", lambda: build(**settings), call)
        for graphs, call in (
            ("one graph", _alone),
            ("several graphs", _of_several_graphs),
            ("one of them empty", _of_counted_graphs),
        )
    ]


_KEEPS = {"affine": True, "track_running_stats": True}
CASES: dict[str, list[Case]] = {
    "BatchNorm": [
        Case("affine", lambda: norm.BatchNorm(F), _alone),
        Case("without running statistics", lambda: norm.BatchNorm(F, track_running_stats=False, affine=False), _alone),
        Case("cumulative average", lambda: norm.BatchNorm(F, momentum=None), _alone),
        Case("single rows allowed", lambda: norm.BatchNorm(F, allow_single_element=True), _alone),
    ],
    "HeteroBatchNorm": [
        Case("a type without rows", lambda: norm.HeteroBatchNorm(F, 4), _of_types),
        Case("cumulative average", lambda: norm.HeteroBatchNorm(F, 3, momentum=None), _of_types),
        Case(
            "without running statistics",
            lambda: norm.HeteroBatchNorm(F, 3, track_running_stats=False, affine=False),
            _of_types,
        ),
    ],
    "InstanceNorm": [
        *_by_graphs(norm.InstanceNorm, "", in_channels=F),
        *_by_graphs(norm.InstanceNorm, "running statistics", in_channels=F, **_KEEPS),
    ],
    "LayerNorm": [
        *_by_graphs(norm.LayerNorm, "", in_channels=F),
        *_by_graphs(norm.LayerNorm, "mode node", in_channels=F, mode="node"),
    ],
    "HeteroLayerNorm": [
        Case("types", lambda: norm.HeteroLayerNorm(F, 3), _of_types),
        Case("not affine", lambda: norm.HeteroLayerNorm(F, 3, affine=False), _of_types),
    ],
    "GraphNorm": _by_graphs(norm.GraphNorm, "", in_channels=F),
    "GraphSizeNorm": [
        Case("one graph", norm.GraphSizeNorm, _alone),
        Case("several graphs", norm.GraphSizeNorm, _of_several_graphs),
    ],
    "PairNorm": [
        *_by_graphs(norm.PairNorm, "", scale=1.5),
        *_by_graphs(norm.PairNorm, "scaled individually", scale_individually=True),
    ],
    "MeanSubtractionNorm": _by_graphs(norm.MeanSubtractionNorm, ""),
    "MessageNorm": [
        Case("learned", lambda: norm.MessageNorm(learn_scale=True), _of_messages),
        Case("fixed", norm.MessageNorm, _of_messages),
    ],
    "DiffGroupNorm": [
        Case("running statistics", lambda: norm.DiffGroupNorm(F, 3, lamda=0.3), _alone),
        Case("without", lambda: norm.DiffGroupNorm(F, 2, lamda=0.3, track_running_stats=False), _alone),
    ],
}

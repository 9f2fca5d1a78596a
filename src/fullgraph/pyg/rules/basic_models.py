"""PyG's models of equal layers, whose ``forward`` never looks back at what a norm gave once the activation has read it.

So a ReLU after a batch norm, and dropout after that, may write where the norm's output is: one tensor of all rows less
while the model runs forward. In a model of your own, ``torch.nn.ReLU(inplace=True)`` says the same.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any, cast

import torch
from torch import Tensor
from torch_geometric.nn import BatchNorm, models
from torch_geometric.nn.models.basic_gnn import BasicGNN

from fullgraph.pyg.general.choice import has_hooks
from fullgraph.pyg.general.converted import Converted

MODELS: tuple[type[BasicGNN], ...] = (models.GCN, models.GraphSAGE, models.GAT, models.PNA)
"""But for GIN and EdgeCNN, whose layers use the model's activation too."""


@cache
def rule(model: type[BasicGNN]) -> type[Converted]:
    """The rule of one of PyG's own models."""
    return type(model.__name__, (OfLayers, model), {"__module__": __name__})  # pyright: ignore[reportReturnType]


class OfLayers(Converted):
    """Mixed in front of a model that does nothing to rows but call its layers."""

    def forward(self, *args: Any, **kwargs: Any) -> Tensor:
        with _in_place(self):
            return super().forward(*args, **kwargs)


@contextmanager
def _in_place(model: Any) -> Iterator[None]:
    """While ``model`` runs, its ReLU writes where its input is, if a batch norm made that; its dropout may too."""
    read = model.norms if model.jk_mode is not None else model.norms[: model.num_layers - 1]
    modules = [module for _, module in model.named_modules(remove_duplicate=False)]
    may = (
        type(model.act) is torch.nn.ReLU
        and type(model.dropout) is torch.nn.Dropout
        and not model.act_first
        and modules.count(model.act) == modules.count(model.dropout) == 1  # no layer uses them too
        and all(type(norm) in (BatchNorm, torch.nn.BatchNorm1d) for norm in read)
        and not any(has_hooks(module) for part in (model.act, model.dropout, *read) for module in part.modules())
    )
    if not may:
        yield
        return
    act, dropout, view = cast(torch.nn.ReLU, model.act), cast(torch.nn.Dropout, model.dropout), model.view

    def decide(_: Any, given: Any, out: Tensor) -> None:  # a ReLU may need its result itself
        dropout.inplace = view.recipes is not None and view.recipes.is_kept_by_none(out)

    before, hook = (act.inplace, dropout.inplace), act.register_forward_hook(decide)
    act.inplace = True
    try:
        yield
    finally:
        hook.remove()
        act.inplace, dropout.inplace = before

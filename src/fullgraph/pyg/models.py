"""PyG's own model classes by name, so that the command line trains the very modules a user would build by hand."""

from collections.abc import Callable
from typing import Any

import torch
from torch_geometric.nn.models import GAT, GCN, GIN, GraphSAGE
from torch_geometric.nn.models.basic_gnn import BasicGNN

from fullgraph.errors import InputError

MODELS: dict[str, type[BasicGNN]] = {"gcn": GCN, "sage": GraphSAGE, "gin": GIN, "gat": GAT}


def build_model(
    name: str,
    num_features: int,
    num_classes: int,
    *,
    hidden: int,
    num_layers: int,
    seed: int,
    heads: int = 1,
    dropout: float = 0.0,
    input_dropout: float = 0.0,
    activation: str = "relu",
    norm: str | None = None,
    jump: str | None = None,
    edge_dim: int | None = None,
) -> BasicGNN:
    """A freshly initialized model, the same on every rank and for any number of ranks.

    The weights come from ``torch.manual_seed(seed)``; the caller's random state is left as it was. Input dropout is a
    hook before ``forward``, so that the model stays an unmodified PyG class with PyG's ``state_dict`` keys.

    Args:
        name: one of `MODELS`.
        hidden: width of the hidden layers, all heads together.
        edge_dim: width of the edge attributes that ``gat`` attends to; None for none.

    Raises:
        InputError: on an unknown name.
    """
    if name not in MODELS:
        raise InputError(f"model must be one of {', '.join(MODELS)}: {name!r}")
    options: dict[str, Any] = {"heads": heads, "edge_dim": edge_dim} if name == "gat" else {}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = MODELS[name](
            num_features,
            hidden,
            num_layers,
            num_classes,
            dropout=dropout,
            act=activation,
            norm=norm,
            jk=jump,
            **options,
        )
    if input_dropout:
        model.add_module("input_dropout", torch.nn.Dropout(input_dropout))
        model.register_forward_pre_hook(_drop_input)
    return model


def edge_arguments(model: BasicGNN, array: Callable[[str], torch.Tensor | None]) -> dict[str, torch.Tensor]:
    """The keyword arguments beside ``x`` and ``edge_index`` that this model can use, of those the graph has.

    Args:
        array: gives the edge array of a name, or None where the graph has none.
    """
    supported = {"edge_weight": model.supports_edge_weight, "edge_attr": model.supports_edge_attr}
    found = {name: array(name) for name, can_use in supported.items() if can_use}
    return {name: values for name, values in found.items() if values is not None}


def _drop_input(module: torch.nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...]:
    return (module.get_submodule("input_dropout")(args[0]), *args[1:])

"""Turns a partitioned graph on disk into what the loop eats: this rank's rows and masks, and a model that fits."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from fullgraph.comm.world import World
from fullgraph.engine import StreamedRows
from fullgraph.errors import GraphMismatch, InputError
from fullgraph.pyg.data import PartitionedData
from fullgraph.pyg.models import build_model, edge_arguments
from fullgraph.pyg.open import open_graph
from fullgraph.train.config import TrainConfig

MASKS = ("train", "val", "test")


@dataclass(frozen=True, kw_only=True)
class Inputs:
    """This rank's share of the graph, and the model that fits it.

    Attributes:
        data: the PyG ``Data`` of the owned rows.
        masks: bool ``[data.num_nodes]`` for each of `MASKS` that selects a node on any rank.
        model: PyG's model with its initial weights, in the run's number type, on the rank's device.
        edge_arguments: keyword arguments of ``model`` beside ``x`` and ``edge_index``.
        edge_dim: width of the edge attributes that the model was built for, or None.
    """

    data: Any
    masks: Mapping[str, Tensor]
    model: torch.nn.Module
    edge_arguments: Mapping[str, Tensor]
    edge_dim: int | None

    def forward(self) -> Tensor:
        """The model's output for the owned rows, ``[data.num_nodes, num_classes]``."""
        return self.model(self.data.x, self.data.edge_index, **self.edge_arguments)


def load_inputs(graph: Path, config: TrainConfig, world: World, *, num_classes: int) -> Inputs:
    """Open the graph for this rank and build the config's model for it.

    Args:
        num_classes: of the model, the width of its output.

    Raises:
        GraphMismatch: the graph has node types and relations of its own.
        InputError: the graph lacks features, or has a feature or split the config asks for and it does not have.
    """
    data = open_graph(graph, world, stream=("x",) if config.stream else (), **asdict(config.engine))
    if not isinstance(data, PartitionedData):
        raise GraphMismatch(
            f"the graph has {len(data.node_types)} node types and {len(data.edge_types)} relations, and this command "
            f"trains on graphs of one type; see docs/heterogeneous.md for training in Python: {graph}"
        )
    if data.x is None:
        raise InputError(
            f"training needs node features, but the graph has no array x; store x and partition again: {graph}"
        )
    dtype = getattr(torch, config.dtype)
    data.x = data.x.to(dtype)
    if config.normalize_features:
        data.x = data.x.step(_sum_to_one) if isinstance(data.x, StreamedRows) else _sum_to_one(data.x)
    edge_attr = _rows(data, "edge_attr", dtype)
    edge_dim = edge_attr.shape[1] if edge_attr is not None and config.model == "gat" else None
    model = build_model(
        config.model,
        data.num_features,
        num_classes,
        hidden=config.hidden,
        num_layers=config.num_layers,
        seed=config.seed,
        heads=config.heads,
        dropout=config.dropout,
        input_dropout=config.input_dropout,
        activation=config.activation,
        norm={"none": None, "batch": "batch_norm"}[config.norm],
        jump=None if config.jump == "none" else config.jump,
        edge_dim=edge_dim,
    )
    return Inputs(
        data=data,
        masks=_masks(data, config.split, world),
        model=model.to(device=world.device, dtype=dtype),
        edge_arguments=edge_arguments(model, lambda name: _rows(data, name, dtype)),
        edge_dim=edge_dim,
    )


def check_trainable(inputs: Inputs, *, patience: int) -> None:
    """Make sure that there is something to learn from and, with ``patience``, something to stop by.

    Raises:
        InputError: the same on every rank.
    """
    labels = inputs.data.y
    if labels.dim() != 1 or labels.is_floating_point():
        raise InputError(
            "training needs one integer class per node in the array y; "
            f"the graph's y is {labels.dtype} of row shape: {list(labels.shape[1:])}"
        )
    for name, needed_for in (("train", "training"), ("val", "patience")):
        if name not in inputs.masks and (name == "train" or patience):
            raise InputError(
                f"{needed_for} needs a {name}_mask that selects at least one node; "
                f"masks of the graph that select any: {', '.join(inputs.masks) or 'none'}"
            )


def _sum_to_one(rows: Tensor, places: Any = None) -> Tensor:
    return rows / rows.sum(dim=-1, keepdim=True).clamp(min=1)


def _rows(data: Any, name: str, dtype: torch.dtype) -> Tensor | None:
    values = data.get(name)
    if values is None:
        return None
    values = values.to(dtype)
    return values.unsqueeze(-1) if name == "edge_attr" and values.dim() == 1 else values


def _masks(data: Any, split: int, world: World) -> dict[str, Tensor]:
    masks = {}
    for name in MASKS:
        mask = data.get(f"{name}_mask")
        if mask is None:
            continue
        columns = mask.unsqueeze(-1) if mask.dim() == 1 else mask
        if split >= columns.shape[1]:
            raise InputError(
                f"the graph's {name}_mask has {columns.shape[1]} splits, counted from 0; split is: {split}"
            )
        if any(world.gather_objects(bool(columns[:, split].any()))):
            masks[name] = columns[:, split].bool()
    return masks

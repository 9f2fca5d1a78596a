"""Turns a partitioned graph on disk into what the loop eats: rows, masks, and a model that fits."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from fullgraph.comm.world import World
from fullgraph.errors import GraphMismatch, InputError
from fullgraph.graph import EDGE, NODE, NodeType, PartitionedGraph
from fullgraph.pyg.graph import is_homogeneous
from fullgraph.pyg.models import build_model, edge_arguments
from fullgraph.pyg.open import open_graph
from fullgraph.pyg.prune import prune
from fullgraph.pyg.typed_models import LAYERS, Typed
from fullgraph.train.config import TYPED_MODELS, TrainConfig

MASKS = ("train", "val", "test")


@dataclass(frozen=True, kw_only=True)
class Inputs:
    """The graph, and the model that fits it.

    Attributes:
        data: the PyG ``Data`` or ``HeteroData``.
        target: the type of the nodes to classify.
        num_features: columns of ``x``; by node type for the models of several types.
        masks: bool ``[num_nodes]`` for each of `MASKS` that selects a node of the target type.
        model: the model with its initial weights, in the run's number type, on the rank's device.
        arguments: of ``model``: ``x`` and ``edge_index``, or the dictionaries of them.
        edge_arguments: its keyword arguments beside these.
        edge_dim: width of the edge attributes that the model was built for, or None.
    """

    data: Any
    target: NodeType
    num_features: int | dict[NodeType, int]
    masks: Mapping[str, Tensor]
    model: torch.nn.Module
    arguments: tuple[Any, Any]
    edge_arguments: Mapping[str, Tensor]
    edge_dim: int | None

    @property
    def labels(self) -> Tensor:
        """The target nodes' classes."""
        return _store(self.data, self.target).y

    def forward(self) -> Tensor:
        """The model's output for the target nodes, ``[num_nodes, num_classes]``."""
        return self.model(*self.arguments, **self.edge_arguments)


def with_target(config: TrainConfig, stored: PartitionedGraph, graph: Path) -> TrainConfig:
    """The config with the type to classify in place of ``auto``, for the models of several types.

    Raises:
        InputError: if the graph has no such type, or several or none could be meant.
    """
    if config.model not in TYPED_MODELS:
        return config
    types = stored.manifest.node_types
    if config.target != "auto":
        if config.target not in types:
            raise InputError(f"target must be a node type of the graph, {', '.join(types)}: {config.target!r}")
        return config
    labelled = [kind for kind, entry in types.items() if entry.num_classes is not None]
    if len(labelled) > 1:
        raise InputError(f"several node types have classes, say which to learn with --target: {', '.join(labelled)}")
    if not labelled:
        raise _no_classes(graph)
    return replace(config, target=labelled[0])


def num_classes_of(config: TrainConfig, stored: PartitionedGraph, graph: Path) -> int:
    """The classes to tell apart.

    Raises:
        InputError: if the nodes in question have none.
    """
    typed = config.model in TYPED_MODELS
    num_classes = stored.manifest.node_types[config.target].num_classes if typed else stored.num_classes
    if num_classes is None:
        raise _no_classes(graph)
    return num_classes


def _no_classes(graph: Path) -> InputError:
    return InputError(f"training needs a class per node, but the graph has no array y of that kind: {graph}")


def load_inputs(graph: Path, config: TrainConfig, world: World, *, num_classes: int) -> Inputs:
    """Open the graph for this rank and build the config's model for it.

    Args:
        num_classes: of the model, the width of its output.

    Raises:
        GraphMismatch: the graph has node types and relations of its own, and the model is for one type.
        InputError: the graph lacks features, or has a feature or split the config asks for and it does not have.
    """
    data = open_graph(graph, world, stream=("x",) if config.stream else (), **asdict(config.engine))
    if config.model in TYPED_MODELS:
        return _typed_inputs(data, config, world, num_classes)
    if not is_homogeneous(data):
        raise GraphMismatch(
            f"the graph has {len(data.node_types)} node types and {len(data.edge_types)} relations, and {config.model} "
            f"is for graphs of one type; give --model {' or '.join(TYPED_MODELS)}: {graph}"
        )
    if data.x is None:
        raise InputError(
            f"training needs node features, but the graph has no array x; store x and partition again: {graph}"
        )
    _check_matrix("x", data.x)
    dtype = getattr(torch, config.dtype)
    data.x = data.x.to(dtype)
    if config.normalize_features:
        data.x = _sum_to_one(data.x)
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
        target=NODE,
        num_features=data.num_features,
        masks=_masks(data, config.split),
        model=model.to(device=world.device, dtype=dtype),
        arguments=(data.x, data.edge_index),
        edge_arguments=edge_arguments(model, lambda name: _rows(data, name, dtype)),
        edge_dim=edge_dim,
    )


def _check_matrix(what: str, x: Tensor) -> None:
    if x.dim() != 2:
        raise InputError(f"training needs features [num_nodes, num_features]; {what} has: {list(x.shape)}")


def _typed_inputs(data: Any, config: TrainConfig, world: World, num_classes: int) -> Inputs:
    """A graph of one type has one relation; more kinds of edges in it would be taken for one, so they are refused."""
    one_type = is_homogeneous(data)
    if one_type and "edge_type" in data:
        raise InputError(
            f"{config.model} takes kinds of edges as relations between node types, but the graph has them as an array "
            "edge_type; leave that array out, or train in Python with RGCNConv, see docs/heterogeneous.md"
        )
    dtype = getattr(torch, config.dtype)
    kinds = [NODE] if one_type else data.node_types
    x_dict = {kind: x for kind in kinds if (x := _store(data, kind).get("x")) is not None}
    for kind, x in x_dict.items():
        _check_matrix(f"x of node type {kind!r}", x)
        x_dict[kind] = x.to(dtype)
    if config.normalize_features:
        x_dict = {kind: _sum_to_one(x) for kind, x in x_dict.items()}
    edges = {EDGE: data.edge_index} if one_type else data.edge_index_dict
    widths = {kind: x.shape[1] for kind, x in x_dict.items()}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        model = Typed(
            widths,
            {kind: _store(data, kind).num_nodes for kind in kinds},
            LAYERS[config.model],
            (kinds, list(edges)),
            config.target,
            num_classes,
            hidden=config.hidden,
            num_layers=config.num_layers,
            heads=config.heads,
            dropout=config.dropout,
            activation=config.activation,
        )
    return Inputs(
        data=data,
        target=config.target,
        num_features={kind: widths.get(kind, 0) for kind in kinds},
        masks=_masks(_store(data, config.target), config.split),
        model=model.to(device=world.device, dtype=dtype),
        arguments=(x_dict, edges),
        edge_arguments={},
        edge_dim=None,
    )


def trained_inputs(inputs: Inputs, config: TrainConfig) -> Inputs:
    """What epochs train on: ``inputs``, or of these only what the loss depends on, with ``train`` as the only mask.

    Collective. The model is the same object.
    """
    if not config.prune:
        return inputs
    pruned = prune(inputs.data, inputs.masks["train"], config.num_layers, batch_norm=config.pruned_norm)  # pyright: ignore[reportArgumentType]
    arguments = pruned.x, pruned.edge_index
    return replace(inputs, data=pruned, masks={"train": pruned.mask}, arguments=arguments)


def _store(data: Any, kind: NodeType) -> Any:
    return data if is_homogeneous(data) else data[kind]


def check_trainable(inputs: Inputs, *, patience: int) -> None:
    """Make sure that there is something to learn from and, with ``patience``, something to stop by.

    Raises:
        InputError: the same on every rank.
    """
    labels = inputs.labels
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


def _sum_to_one(rows: Tensor) -> Tensor:
    return rows / rows.sum(dim=-1, keepdim=True).clamp(min=1)


def _rows(data: Any, name: str, dtype: torch.dtype) -> Tensor | None:
    values = data.get(name)
    if values is None:
        return None
    values = values.to(dtype)
    return values.unsqueeze(-1) if name == "edge_attr" and values.dim() == 1 else values


def _masks(data: Any, split: int) -> dict[str, Tensor]:
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
        mask = columns[:, split].bool()
        if mask.any():
            masks[name] = mask
    return masks

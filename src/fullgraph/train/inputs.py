"""Turns a partitioned graph on disk into what the loop eats: rows, masks, and a model that fits."""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from fullgraph.comm.world import World
from fullgraph.errors import GraphMismatch, InputError
from fullgraph.graph import EDGE, NODE, NodeType
from fullgraph.pyg.data.graph import is_homogeneous
from fullgraph.pyg.models import build_model, edge_arguments
from fullgraph.pyg.open import open_graph
from fullgraph.pyg.prune import prune
from fullgraph.pyg.typed_models import LAYERS, Typed
from fullgraph.train.config import TYPED_MODELS, TrainConfig

MASKS = ("train", "val", "test")
DTYPES = {
    "32-true": torch.float32,
    "64-true": torch.float64,
    "bf16-mixed": torch.float32,
    "bf16-true": torch.bfloat16,
}
"""Of parameters, of what the optimizer keeps and of features, by the config's precision."""


@dataclass(frozen=True, kw_only=True)
class Inputs:
    """The graph, and the model that fits it.

    Attributes:
        data: the PyG ``Data`` or ``HeteroData``.
        target: the type of the nodes to learn about.
        num_features: columns of ``x``; by node type for the models of several types.
        masks: bool ``[num_nodes]`` for each of `MASKS` that selects a node of the target type; bool ``[num_edges]``, if
            the task is about edges.
        model: the model with its initial weights, on the rank's device, of the precision's dtype in `DTYPES`.
        arguments: of ``model``: ``x`` and ``edge_index``, or the dictionaries of them.
        edge_arguments: its keyword arguments beside these.
        edge_dim: width of the edge attributes that the model was built for, or None.
        autocast: what the model's forward runs under.
        of_task: what the task's loss needs besides.
    """

    data: Any
    target: NodeType
    num_features: int | dict[NodeType, int]
    masks: Mapping[str, Tensor]
    model: torch.nn.Module
    arguments: tuple[Any, Any]
    edge_arguments: Mapping[str, Tensor]
    edge_dim: int | None
    autocast: torch.autocast
    of_task: Any = None

    @property
    def labels(self) -> Tensor:
        """What is known of the target nodes."""
        return _store(self.data, self.target).y

    def forward(self) -> Tensor:
        """The model's output for the target nodes, ``[num_nodes, num_outputs]``, float32 where it is bfloat16.

        Losses are so computed in float32, and a file of predictions has a number type that numpy knows.
        """
        return self.in_precision(lambda: self.model(*self.arguments, **self.edge_arguments))

    def in_precision(self, compute: Callable[[], Tensor]) -> Tensor:
        """What a part of the model gives, in the run's precision; float32 where it is bfloat16."""
        with self.autocast:
            out = compute()
        return out.float() if out.dtype == torch.bfloat16 else out


def load_inputs(graph: Path, config: TrainConfig, world: World, *, num_outputs: int) -> Inputs:
    """Open the graph for this rank and build the config's model for it.

    Args:
        num_outputs: columns of the model's output.

    Raises:
        GraphMismatch: the graph has node types and relations of its own, and the model is for one type.
        InputError: the graph lacks features, or has a feature or split the config asks for and it does not have.
    """
    data = open_graph(graph, world, stream=("x",) if config.stream else (), **asdict(config.engine))
    one_type, typed = is_homogeneous(data), config.model in TYPED_MODELS
    if not (one_type or typed):
        raise GraphMismatch(
            f"the graph has {len(data.node_types)} node types and {len(data.edge_types)} relations, and {config.model} "
            f"is for graphs of one type; give --model {' or '.join(TYPED_MODELS)}: {graph}"
        )
    if not typed and data.x is None:
        raise InputError(
            f"training needs node features, but the graph has no array x; store x and partition again: {graph}"
        )
    if typed and one_type and "edge_type" in data:  # of the one relation, for which it would be taken
        raise InputError(
            f"{config.model} takes kinds of edges as relations between node types, but the graph has them as an array "
            "edge_type; leave that array out, or train in Python with RGCNConv, see docs/heterogeneous.md"
        )
    dtype, is_mixed = DTYPES[config.precision], config.precision == "bf16-mixed"
    stores = {kind: _store(data, kind) for kind in ([NODE] if one_type else data.node_types)}
    x_dict = {kind: store.x for kind, store in stores.items() if store.get("x") is not None}
    for kind, x in x_dict.items():
        if x.dim() != 2:
            what = f"x of node type {kind!r}" if typed else "x"
            raise InputError(f"training needs features [num_nodes, num_features]; {what} has: {list(x.shape)}")
        if not (is_mixed and x.dtype == torch.bfloat16):  # which it would make them
            x = x.to(dtype)
        x_dict[kind] = x / x.sum(dim=-1, keepdim=True).clamp(min=1) if config.normalize_features else x
        stores[kind].x = x_dict[kind]
    widths = {kind: x.shape[1] for kind, x in x_dict.items()}
    options = {name: getattr(config, name) for name in ("hidden", "num_layers", "heads", "dropout", "activation")}
    edge_dim, edge_arrays = None, {}
    if typed:
        edges = {EDGE: data.edge_index} if one_type else data.edge_index_dict
        num_nodes, relations = {kind: store.num_nodes for kind, store in stores.items()}, (list(stores), list(edges))
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(config.seed)
            model = Typed(widths, num_nodes, LAYERS[config.model], relations, config.target, num_outputs, **options)
        arguments = (x_dict, edges)
    else:
        edge_attr = _edge_rows(data, dtype, "edge_attr")
        edge_dim = edge_attr.shape[1] if edge_attr is not None and config.model == "gat" else None
        model = build_model(
            config.model,
            widths[NODE],
            num_outputs,
            seed=config.seed,
            input_dropout=config.input_dropout,
            norm={"none": None, "batch": "batch_norm"}[config.norm],
            jump=None if config.jump == "none" else config.jump,
            edge_dim=edge_dim,
            **options,
        )
        arguments, edge_arrays = (data.x, data.edge_index), edge_arguments(model, partial(_edge_rows, data, dtype))
    target = config.target if typed else NODE
    return Inputs(
        data=data,
        target=target,
        num_features={kind: widths.get(kind, 0) for kind in stores} if typed else widths[NODE],
        masks=_masks(stores[target], config.split),
        model=model.to(device=world.device, dtype=dtype),
        arguments=arguments,
        edge_arguments=edge_arrays,
        edge_dim=edge_dim,
        autocast=torch.autocast(world.device.type, torch.bfloat16, enabled=is_mixed),
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


def _edge_rows(data: Any, dtype: torch.dtype, name: str) -> Tensor | None:
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

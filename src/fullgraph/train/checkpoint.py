"""Saves everything a run needs to go on as if it had never stopped, in one file that is never half written.

Rank 0 alone touches the file; what it reads travels to the other ranks, so that no shared file system is needed.
The file holds tensors and plain Python values only and is read with ``weights_only=True``: no code is ever unpickled.
"""

import pickle
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from fullgraph.comm.world import World
from fullgraph.errors import GraphMismatch, InputError
from fullgraph.replacing import replacing
from fullgraph.train import files
from fullgraph.train.config import TrainConfig

VERSION = 2


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """A run after ``epoch`` epochs.

    Attributes:
        config: the run's config.
        graph_checksum: of the partitioned graph's manifest; a run goes on with the same graph only.
        num_features, num_classes, edge_dim: what the model was built for; ``num_features`` by node type for the models
            of several types; ``edge_dim`` None without edge attributes.
        epoch: epochs done.
        model, optimizer, scheduler: their ``state_dict``; learned rows of nodes are those of the whole graph.
        randomness: the state of torch's generator of the CPU, which says every draw.
        best: the numbers of the best epoch so far as a dict of EpochMetrics; None before the first evaluation.
        best_model: the model's ``state_dict`` after the best epoch; None as long as ``best`` is.
    """

    config: TrainConfig
    graph_checksum: str
    num_features: int | dict[str, int]
    num_classes: int
    edge_dim: int | None
    epoch: int
    model: dict[str, Any]
    optimizer: dict[str, Any]
    scheduler: dict[str, Any]
    randomness: Tensor
    best: dict[str, Any] | None
    best_model: dict[str, Any] | None


def save(checkpoint: Checkpoint, run: Path) -> None:
    """Write the run's checkpoint in place of the one before."""
    with replacing(run / files.CHECKPOINT) as file:
        torch.save({"version": VERSION, **vars(checkpoint), "config": asdict(checkpoint.config)}, file)


def load(run: Path) -> Checkpoint:
    """Read a run's checkpoint, onto the CPU.

    Raises:
        InputError: there is none, it is truncated or damaged, or it is of another version.
    """
    path = run / files.CHECKPOINT
    if not path.exists():
        raise InputError(
            f"the run folder has no checkpoint; give a run that wrote one, or train without --resume: {run}"
        )
    try:
        values = torch.load(path, weights_only=True, map_location="cpu")
        if not isinstance(values, dict):
            raise TypeError(f"expected a dict, got {type(values).__name__}")
    except (RuntimeError, EOFError, OSError, ValueError, TypeError, pickle.UnpicklingError) as error:
        raise InputError(
            f"the checkpoint is truncated or damaged and cannot be read; restore a copy of it, "
            f"or train again with a new --run folder: {path}"
        ) from error
    if values.pop("version", None) != VERSION:
        raise InputError(f"the checkpoint is not of version {VERSION}, the one that this fullgraph reads: {path}")
    return Checkpoint(**{**values, "config": TrainConfig.from_dict(values["config"])})


def load_everywhere(run: Path, world: World) -> Checkpoint:
    """The checkpoint that rank 0 reads, on every rank.

    Raises:
        InputError: as `load` does, the same on every rank.
    """
    checkpoint = world.together(lambda: load(run) if world.rank == 0 else None)
    return world.gather_objects(checkpoint)[0]


def refuse_another_graph(checkpoint: Checkpoint, checksum: str, graph: Path) -> None:
    """Make sure that a resumed run goes on with the graph it began with.

    Raises:
        GraphMismatch: the checksums differ.
    """
    if checkpoint.graph_checksum != checksum:
        raise GraphMismatch(
            f"the run was begun on another graph (checksum {checkpoint.graph_checksum[:12]}, this one has "
            f"{checksum[:12]}); give the graph of the run, or start a new run with its own --run folder: {graph}"
        )

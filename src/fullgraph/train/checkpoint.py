"""Saves everything a run needs to go on as if it had never stopped, and never gives up the last that is good.

Rank 0 alone touches the files; what it reads travels to the other ranks, so that no shared file system is needed.
"""

from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from torch import Tensor

from fullgraph.comm.world import World
from fullgraph.errors import GraphMismatch, InputError, NotFinite
from fullgraph.train import files
from fullgraph.train.config import TrainConfig
from fullgraph.train.state_file import Damaged, read_head, read_state, write_state

FORMAT = "fullgraph-checkpoint"
VERSION = 4


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """A run after ``epoch`` epochs.

    Attributes:
        config: the run's config.
        graph_checksum: of the partitioned graph's manifest; a run goes on with the same graph only.
        num_features, num_outputs, edge_dim: what the model was built for; ``num_features`` by node type for the models
            of several types; ``edge_dim`` None without edge attributes.
        epoch: epochs done.
        model, optimizer, scheduler: their ``state_dict``; learned rows of nodes are those of the whole graph.
        randomness: the state of torch's generator of the CPU, which says every draw.
        best: the numbers of the best epoch so far as a dict of EpochMetrics; None before the first evaluation.
        best_model: the model's ``state_dict`` after the best epoch; None as long as ``best`` is.
        code: the version of fullgraph that wrote it.
    """

    config: TrainConfig
    graph_checksum: str
    num_features: int | dict[str, int]
    num_outputs: int
    edge_dim: int | None
    epoch: int
    model: dict[str, Any]
    optimizer: dict[str, Any]
    scheduler: dict[str, Any]
    randomness: Tensor
    best: dict[str, Any] | None
    best_model: dict[str, Any] | None
    code: str


def save(checkpoint: Checkpoint, run: Path, *, keep: int) -> None:
    """Write a checkpoint beside those of the run, and remove those of later epochs and all but the ``keep`` newest.

    Raises:
        NotFinite: a number of the model or the optimizer is not finite, naming it; nothing is written or removed.
    """
    state = {"model": checkpoint.model, "optimizer": checkpoint.optimizer}
    name = next(_not_finite(state, ""), None)
    if name is not None:
        raise NotFinite(
            f"after epoch {checkpoint.epoch} a number of the model is not finite, so no checkpoint was written "
            f"and the earlier ones stay; try a smaller --lr, or look at the features' scale: {name}"
        )
    folder = run / files.CHECKPOINTS
    folder.mkdir(exist_ok=True)
    values = {**vars(checkpoint), "config": asdict(checkpoint.config), "format": FORMAT, "version": VERSION}
    write_state(values, _path(run, checkpoint.epoch))
    written = epochs(run)
    older = [epoch for epoch in written if epoch <= checkpoint.epoch]
    for epoch in {*written} - {*older[:keep]}:
        for ending in (".json", ".safetensors"):
            _path(run, epoch).with_suffix(ending).unlink(missing_ok=True)


def epochs(run: Path) -> list[int]:
    """After which epochs the run has checkpoints, damaged or not, the newest first."""
    names = [each.stem.removeprefix(_PREFIX) for each in (run / files.CHECKPOINTS).glob(f"{_PREFIX}*.json")]
    return sorted((int(name) for name in names if name.isdecimal()), reverse=True)


def load(run: Path) -> tuple[Checkpoint, list[str]]:
    """The newest of a run's checkpoints that is as it was written, on the CPU, and what is wrong with newer ones.

    Raises:
        InputError: there is none.
    """
    checkpoint, refused = _newest(run, tensors=True)
    return checkpoint, refused


def config_of(run: Path) -> TrainConfig:
    """The config of the newest checkpoint whose JSON is as it was written.

    Raises:
        InputError: there is none.
    """
    return _newest(run, tensors=False)[0].config


def _newest(run: Path, *, tensors: bool) -> tuple[Checkpoint, list[str]]:
    refused = []
    for epoch in epochs(run):
        try:
            values = (read_state if tensors else read_head)(_path(run, epoch))
            return _checkpoint(values, _path(run, epoch)), refused
        except InputError as error:
            refused.append(f"the checkpoint of epoch {epoch} {error}")
    if refused:
        raise InputError(
            f"no checkpoint of the run can be read; restore a copy of one, or train again with a new --run folder; the "
            f"newest: {refused[0]}"
        )
    raise InputError(f"the run folder has no checkpoint; give a run that wrote one, or train without --resume: {run}")


def _checkpoint(values: dict[str, Any], path: Path) -> Checkpoint:
    if values.pop("format", None) != FORMAT or values.pop("version", None) != VERSION:
        raise Damaged(f"is not of version {VERSION}, the one that this fullgraph reads: {path}.json")
    if values.keys() != {each.name for each in fields(Checkpoint)}:
        raise Damaged(f"lacks a field or has one too many: {path}.json")
    return Checkpoint(**{**values, "config": TrainConfig.from_dict(values["config"])})


def load_everywhere(run: Path, world: World) -> tuple[Checkpoint, list[str]]:
    """What rank 0 loads, on every rank.

    Raises:
        InputError: as `load` does, the same on every rank.
    """
    loaded = world.together(lambda: load(run) if world.rank == 0 else None)
    return world.gather_objects(loaded)[0]


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


_PREFIX = "epoch-"


def _path(run: Path, epoch: int) -> Path:
    return run / files.CHECKPOINTS / f"{_PREFIX}{epoch:08d}"


def _not_finite(state: Any, name: str) -> Iterator[str]:
    """Names of the tensors that hold a number that is not finite."""
    if isinstance(state, Tensor):
        if state.is_floating_point() and not bool(state.isfinite().all()):
            yield name
    elif isinstance(state, dict):
        for key, each in state.items():
            yield from _not_finite(each, f"{name}.{key}" if name else str(key))

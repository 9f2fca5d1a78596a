"""Trains a few epochs on one rank and watches: what the cases that measure training have in common."""

import resource
import statistics
import time
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch_geometric.nn.models import GAT, GCN, GraphSAGE

import fullgraph as fg
from fullgraph.bench.case import Size
from fullgraph.comm.launch import launch
from fullgraph.train.memory import PeakMemory

HEADS = 4
MODELS: dict[str, Callable[[int, int, int, int], torch.nn.Module]] = {
    "SAGE": lambda features, hidden, layers, classes: GraphSAGE(features, hidden, layers, classes, norm="batch_norm"),
    "GCN": lambda features, hidden, layers, classes: GCN(features, hidden, layers, classes, norm="batch_norm"),
    "GAT": lambda features, hidden, layers, classes: GAT(
        features, hidden, layers, classes, heads=HEADS, norm="batch_norm"
    ),
}
"""PyG's own classes with batch norm: features, hidden width (of all heads), layers, classes."""


@dataclass(frozen=True, kw_only=True)
class RankUse:
    """What one rank used.

    Attributes:
        growth: bytes of resident memory at the peak, above ``before``.
        before: bytes of resident memory just before the first epoch.
        seconds: per epoch.
        cpu_seconds: of all threads of the process, per epoch.
        waited: seconds spent waiting for other ranks, per epoch.
        sent: bytes of rows per epoch.
        losses: per epoch, the same on every rank.
        threads: of this process.
    """

    growth: int
    before: int
    seconds: list[float]
    cpu_seconds: list[float]
    waited: list[float]
    sent: list[int]
    losses: list[float]
    threads: int


@dataclass(frozen=True)
class Use:
    """What the ranks of one run used, and one number of each: of the rank that has most, of the median epoch.

    Attributes:
        ranks: what each used.
    """

    ranks: list[RankUse]

    @property
    def growth(self) -> int:
        """Bytes."""
        return max(rank.growth for rank in self.ranks)

    @property
    def seconds(self) -> float:
        """Of the slowest rank of each epoch."""
        return statistics.median(max(epoch) for epoch in zip(*(rank.seconds for rank in self.ranks), strict=True))

    @property
    def cpu_seconds(self) -> float:
        """Of all ranks together."""
        return statistics.median(sum(epoch) for epoch in zip(*(rank.cpu_seconds for rank in self.ranks), strict=True))

    @property
    def sent(self) -> int:
        """Bytes."""
        return max(statistics.median_low(rank.sent) for rank in self.ranks)

    @property
    def last_loss(self) -> str:
        """As a cell."""
        return f"{self.ranks[0].losses[-1]:.6f}"

    def beside(self, other: "Use") -> list[tuple[list[float], list[float]]]:
        """Each rank's losses with those of another run."""
        return [(rank.losses, other.ranks[0].losses) for rank in self.ranks]


def train(path: Path, settings: Mapping[str, Any], model_name: str, size: Size, *, num_ranks: int) -> Use:
    """Train on so many ranks, each a process of its own, on the partitioned graph at ``path``, opened so."""
    return Use(launch(_train_rank, path, settings, model_name, size, num_ranks=num_ranks))


def _train_rank(path: Path, settings: Mapping[str, Any], model_name: str, size: Size) -> RankUse:
    with closing(fg.init()) as world:
        data = fg.open(path, world, **settings)
        return watch(steps_of(model_name, data, size.hidden[model_name], size.num_layers), size.epochs, world)


def steps_of(model_name: str, data: Any, hidden: int, num_layers: int) -> Callable[[], float]:
    """A new model and Adam on an opened graph, as what takes a step and returns its loss."""
    torch.manual_seed(0)
    model = MODELS[model_name](data.num_features, hidden, num_layers, data.num_classes)
    step = steps(model, (data.x, data.edge_index), data.train_mask, data.y)
    fg.prepare(model, data)
    return step


def steps(model: torch.nn.Module, inputs: tuple[Any, ...], mask: Tensor, y: Tensor) -> Callable[[], float]:
    """Adam on a model, as what takes a step and returns its loss."""
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)

    def step() -> float:
        optimizer.zero_grad()
        loss = F.cross_entropy(model(*inputs)[mask], y[mask])
        loss.backward()
        optimizer.step()
        return float(loss.detach())

    return step


def watch(step: Callable[[], float], epochs: int, world: fg.World) -> RankUse:
    """Take ``epochs`` steps, each of which returns its loss."""
    found: dict[str, list[Any]] = {"seconds": [], "cpu_seconds": [], "waited": [], "sent": [], "losses": []}
    traffic, memory = world.traffic, PeakMemory(world.device)
    for _ in range(epochs):
        before = (time.perf_counter(), _cpu_seconds(), traffic.waited_seconds, traffic.rows_bytes)
        loss = step()
        after = (time.perf_counter(), _cpu_seconds(), traffic.waited_seconds, traffic.rows_bytes)
        for values, start, stop in zip(found.values(), before, after, strict=False):
            values.append(stop - start)
        found["losses"].append(loss)
    return RankUse(growth=memory.growth(), before=memory.start, threads=torch.get_num_threads(), **found)


def _cpu_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime

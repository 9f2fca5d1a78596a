"""Trains a few epochs on one rank and watches: what the cases that measure training have in common."""

import resource
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch_geometric.nn.models import GAT, GCN, GraphSAGE

import fullgraph as fg
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


def train_rank(
    path: Path, settings: Mapping[str, Any], model_name: str, hidden: int, num_layers: int, epochs: int
) -> RankUse:
    """Train on this rank's share of the partitioned graph at ``path``, opened with these settings."""
    world = fg.init()
    try:
        data = fg.open(path, world, **settings)
        return watch(steps_of(model_name, data, hidden, num_layers), epochs, world)
    finally:
        world.close()


def steps_of(model_name: str, data: Any, hidden: int, num_layers: int) -> Callable[[], float]:
    """A new model and Adam on an opened graph, as what takes a step and returns its loss."""
    torch.manual_seed(0)
    model = MODELS[model_name](data.num_features, hidden, num_layers, data.num_classes)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    fg.prepare(model, data)

    def step() -> float:
        optimizer.zero_grad()
        out = model(data.x, data.edge_index)
        loss = F.cross_entropy(out[data.train_mask], data.y[data.train_mask])
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

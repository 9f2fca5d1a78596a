"""Trains a few epochs on one rank and watches: what the cases that measure training have in common."""

import statistics
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch_geometric.data import Data
from torch_geometric.nn.models import GAT, GCN, GraphSAGE

import fullgraph as fg
from fullgraph.bench.case import Size
from fullgraph.bench.report import mib
from fullgraph.comm import return_free_pages
from fullgraph.comm.launch import launch
from fullgraph.rows import local
from fullgraph.train.memory import PeakMemory, resident_bytes

HEADS = 4
MODELS: dict[str, Callable[..., torch.nn.Module]] = {
    "SAGE": partial(GraphSAGE, norm="batch_norm"),
    "GCN": partial(GCN, norm="batch_norm"),
    "GAT": partial(GAT, heads=HEADS, norm="batch_norm"),
}
"""PyG's own classes with batch norm: features, hidden width (of all heads), layers, classes."""


@dataclass(frozen=True, kw_only=True)
class RankUse:
    """What one rank used.

    Attributes:
        growth: bytes of resident memory at the peak, above ``before``.
        before: bytes of resident memory when watching began, just before the first epoch unless said otherwise.
        threads: of this process.
        losses: per epoch, the same on every rank.
        bytes_per_edge: of resident memory that opening and preparing took beside what is stored per node, by in-edges.
        counted: per epoch, ``seconds``, ``cpu_seconds`` of all threads of the process, seconds ``waited`` for other
            ranks, bytes of rows ``sent``, and what else was to be counted.
    """

    growth: int
    before: int
    threads: int
    losses: list[float]
    counted: dict[str, list[float]]
    bytes_per_edge: float = 0.0


@dataclass(frozen=True)
class Use:
    """What the ranks of one run used, and one number of each: of the rank that has most, of the median epoch.

    Attributes:
        ranks: what each used.
    """

    ranks: Sequence[RankUse]

    @property
    def growth(self) -> int:
        """Bytes."""
        return max(rank.growth for rank in self.ranks)

    @property
    def sent(self) -> int:
        """Bytes."""
        return int(max(statistics.median_low(rank.counted["sent"]) for rank in self.ranks))

    def epoch(self, counter: str, of_ranks: Callable[..., float]) -> float:
        """What the median epoch took, of all ranks together or of the slowest."""
        return statistics.median(map(of_ranks, zip(*(rank.counted[counter] for rank in self.ranks), strict=True)))

    def cells(self, *headings: str) -> dict[str, str]:
        """The numbers as tables have them, by these headings."""
        waiting = max(sum(rank.counted["waited"]) / sum(rank.counted["seconds"]) for rank in self.ranks)
        cells = {
            "threads each": f"{self.ranks[0].threads}",
            "seconds per epoch": f"{self.epoch('seconds', max):.2f}",
            "CPU-seconds per epoch, all ranks": f"{self.epoch('cpu_seconds', sum):.2f}",
            "waiting, share": "—" if len(self.ranks) == 1 else f"{100 * waiting:.0f} %",
            "peak growth, MiB": mib(self.growth),
            "resident before, MiB": mib(max(rank.before for rank in self.ranks)),
            "before, bytes per edge": f"{max(rank.bytes_per_edge for rank in self.ranks):.1f}",
            "sent per epoch, MiB": mib(self.sent),
            "last loss": f"{self.ranks[0].losses[-1]:.6f}",
        }
        return {heading: cells[heading] for heading in headings}

    def beside(self, others: Iterable["Use"]) -> list[tuple[list[float], list[float]]]:
        """The losses of each rank in other runs, with those of this one."""
        return [(rank.losses, self.ranks[0].losses) for use in others for rank in use.ranks]


def train(path: Path, settings: Mapping[str, Any], model_name: str, size: Size, *, num_ranks: int) -> Use:
    """Train on so many ranks, each a process of its own, on the partitioned graph at ``path``, opened so."""
    return Use(launch(_train_rank, path, settings, model_name, size, num_ranks=num_ranks))


def _train_rank(path: Path, settings: Mapping[str, Any], model_name: str, size: Size) -> RankUse:
    with closing(fg.init()) as world:
        _load_code(model_name, world)
        return_free_pages()
        before = resident_bytes()
        data = fg.open(path, world, **settings)
        step = steps_of(model_name, data, size.hidden[model_name], size.num_layers)
        return_free_pages()
        stored = sum(local(data[name]).nbytes for name in data.node_attrs())
        bytes_per_edge = (resident_bytes() - before - stored) / max(1, data.edge_index.walked.space.num_own)
        return replace(watch(step, size.epochs, world), bytes_per_edge=bytes_per_edge)


def _load_code(model_name: str, world: fg.World) -> None:
    """Do to a ring of nodes what is done to a graph, so that code that is read from disk is in memory."""
    ring = torch.arange(4 * world.num_ranks)
    data = fg.open(Data(x=torch.zeros(len(ring), 1), edge_index=torch.stack([ring, ring.roll(1)])), world)
    fg.prepare(MODELS[model_name](1, HEADS, 2, 2), data)


def steps_of(model_name: str, data: Any, hidden: int, num_layers: int) -> Callable[[], float]:
    """A new model and Adam on an opened graph, as what takes a step and returns its loss."""
    torch.manual_seed(0)
    model = MODELS[model_name](data.num_features, hidden, num_layers, data.num_classes)
    step = steps(model, (data.x, data.edge_index), data.train_mask, data.y)
    fg.prepare(model, data)
    return step


def step_in(way: str, model: Callable[..., torch.nn.Module], data: Any, hidden: int) -> Callable[[], float]:
    """As `steps_of`, of three layers, in a way: ``PyG`` is not prepared, ``bf16-mixed`` runs under autocast."""
    torch.manual_seed(0)
    built = model(data.num_features, hidden, 3, data.num_classes).to(data.x.device)
    if way != "PyG":
        fg.prepare(built, data)
    mixed = torch.autocast(data.x.device.type, torch.bfloat16, enabled=way == "bf16-mixed")
    built.forward = mixed(built.forward)
    return steps(built, (data.x, data.edge_index), data.train_mask, data.y)


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


def watch(step: Callable[[], float], epochs: int, world: fg.World, memory: PeakMemory | None = None) -> RankUse:
    """Take ``epochs`` steps, each of which returns its loss; ``memory`` as `take_turns` has it."""
    return take_turns({"": step}, epochs, world, memory)[""]


def take_turns(
    steps: Mapping[Any, Callable[[], float]],
    epochs: int,
    world: fg.World,
    memory: PeakMemory | None = None,
    /,
    **more: Callable[[], float],
) -> dict[Any, RankUse]:
    """Take ``epochs`` of each of the steps in turn, and watch each by its key.

    Args:
        memory: what has watched memory so far, if its growth is to count too.
        more: counters to read before and after each step, by name.
    """
    traffic, memory = world.traffic, memory or PeakMemory(world.device)
    counters = {
        "seconds": time.perf_counter,
        "cpu_seconds": time.process_time,
        "waited": lambda: traffic.waited_seconds,
        "sent": lambda: traffic.rows_bytes,
        **more,
    }
    losses: dict[Any, list[float]] = {key: [] for key in steps}
    counted: dict[Any, dict[str, list[float]]] = {key: {name: [] for name in counters} for key in steps}
    for _ in range(epochs):
        for key, step in steps.items():
            before = [count() for count in counters.values()]
            losses[key].append(step())
            for values, count, start in zip(counted[key].values(), counters.values(), before, strict=True):
                values.append(count() - start)
    used = {"growth": memory.growth(), "before": memory.start, "threads": torch.get_num_threads()}
    return {key: RankUse(**used, losses=losses[key], counted=counted[key]) for key in steps}

"""Features that are larger than the memory a rank may use: refused on one rank, trained on more ranks or from disk."""

import os
import resource
import statistics
import tempfile
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

import fullgraph as fg
from fullgraph.bench.case import Request
from fullgraph.bench.report import Report, Table, verdict
from fullgraph.bench.training import RankUse, steps_of, watch
from fullgraph.comm.launch import launch
from fullgraph.datasets import load
from fullgraph.datasets.synthetic import Size as GraphSize
from fullgraph.datasets.synthetic import synthetic
from fullgraph.errors import OutOfMemory
from fullgraph.train.memory import PeakMemory

LOSS_TOLERANCE = 1e-3
"""Largest relative difference of losses between configurations: float32 sums in another order, then Adam's steps."""

COLUMNS = (
    "ranks",
    "features",
    "outcome",
    "peak growth, MiB",
    "CPU-seconds per epoch, all ranks",
    "sent per epoch, MiB",
    "last loss",
)

_ABOUT = """\
Each rank may add {allowed:,} MiB to its address space (`RLIMIT_AS`), from before it opens the graph on. *Peak growth*
is the high-water mark of its resident memory over that moment: graph, features and training. Figures are of the rank
that has most and of the median epoch; bytes are rows and gradients of rows.

The model is PyG's own GraphSAGE class: {layers} layers, hidden width {hidden}, mean aggregation, batch norm, float32;
{epochs} epochs of forward, backward and a step of Adam. *On disk* is `stream=("x",)`: the first layer reads the
features a few MiB at a time, forward and backward.

Graph: {label}, {nodes:,} nodes, {edges:,} edges, {features:,} features ({megabytes:,.0f} MiB as float32), {classes}
classes, cut once by METIS into {parts} parts. Every line is a fresh set of processes on one machine.
"""


@dataclass(frozen=True, kw_only=True)
class Size:
    """What is trained.

    Attributes:
        graph: what is made, if no other graph is asked for.
        ranks: numbers of ranks, ascending from 1; the graph is cut into as many parts as the last.
        allowed: bytes that a rank may add to its address space.
        hidden, num_layers: of the model.
        epochs: how many are trained.
    """

    graph: GraphSize
    ranks: tuple[int, ...]
    allowed: int
    hidden: int
    num_layers: int
    epochs: int


FULL = Size(
    graph=GraphSize(num_nodes=100_000, num_edges=2_000_000, num_communities=200, num_features=1_024),
    ranks=(1, 2, 4),
    allowed=384 << 20,
    hidden=64,
    num_layers=3,
    epochs=3,
)
QUICK = Size(
    graph=GraphSize(num_nodes=2_000, num_edges=20_000, num_communities=10, num_features=16, num_classes=5),
    ranks=(1,),
    allowed=1 << 30,
    hidden=16,
    num_layers=2,
    epochs=2,
)


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What one rank used: in training, and in all; bytes of resident memory over that before the graph was opened."""

    training: RankUse
    growth: int


def run(request: Request) -> Report:
    """The case ``streaming``."""
    size = QUICK if request.quick else FULL
    graph = load(request.graph) if request.graph else synthetic(size.graph)
    measured: dict[tuple[str, int], list[Outcome] | OutOfMemory] = {}
    with tempfile.TemporaryDirectory() as folder:
        small, path = Path(folder) / "small.fg", Path(folder) / "graph.fg"
        fg.partition(load("synthetic-tiny"), small, num_parts=size.ranks[-1])
        stored = fg.partition(graph, path, num_parts=size.ranks[-1])
        del graph
        for features, stream in {"in memory": (), "on disk": ("x",)}.items():
            for num_ranks in size.ranks:
                arguments = (path, small, stream, size.allowed, size.hidden, size.num_layers, size.epochs)
                try:
                    measured[features, num_ranks] = launch(train_under_limit, *arguments, num_ranks=num_ranks)
                except OutOfMemory as refused:
                    measured[features, num_ranks] = refused
                request.tell(", ".join(_row(features, num_ranks, measured[features, num_ranks])))
    facts = request.facts(request.graph or "a synthetic graph", stored)
    about = _ABOUT.format(
        allowed=size.allowed >> 20,
        layers=size.num_layers,
        hidden=size.hidden,
        epochs=size.epochs,
        megabytes=facts["nodes"] * facts["features"] * 4 / 2**20,
        **facts,
    )
    rows = tuple(_row(features, num_ranks, outcome) for (features, num_ranks), outcome in measured.items())
    return Report(
        title="Features larger than memory",
        about=about,
        verdicts=(_same_losses(measured),) if request.quick else (*_fits(measured), _same_losses(measured)),
        tables=(Table(title="GraphSAGE under a limit", columns=COLUMNS, rows=rows),),
    )


def train_under_limit(
    path: Path, small: Path, stream: Collection[str], allowed: int, hidden: int, num_layers: int, epochs: int
) -> Outcome:
    """Train with ``allowed`` bytes of address space more than before the graph is opened.

    A small graph is trained on first: it starts the threads, whose stacks and heaps take address space by themselves.
    """
    world = fg.init()
    try:
        watch(steps_of("SAGE", fg.open(small, world), hidden, num_layers), 1, world)
        in_use = int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
        resource.setrlimit(resource.RLIMIT_AS, (in_use + allowed, resource.RLIM_INFINITY))
        memory = PeakMemory(world.device)
        data = fg.open(path, world, stream=stream)
        opening = memory.growth()
        training = watch(steps_of("SAGE", data, hidden, num_layers), epochs, world)
        return Outcome(training=training, growth=max(opening, training.before + training.growth - memory.start))
    finally:
        world.close()


def _row(features: str, num_ranks: int, outcome: list[Outcome] | OutOfMemory) -> tuple[str, ...]:
    if isinstance(outcome, OutOfMemory):
        return str(num_ranks), features, f"refused: {outcome}", "–", "–", "–", "–"
    cpu = [sum(epoch) for epoch in zip(*(each.training.cpu_seconds for each in outcome), strict=True)]
    return (
        str(num_ranks),
        features,
        "trains",
        f"{max(each.growth for each in outcome) / 2**20:,.1f}",
        f"{statistics.median(cpu):.2f}",
        f"{max(statistics.median_low(each.training.sent) for each in outcome) / 2**20:,.1f}",
        f"{outcome[0].training.losses[-1]:.6f}",
    )


def _fits(measured: dict[tuple[str, int], list[Outcome] | OutOfMemory]) -> tuple[str, ...]:
    most = max(num_ranks for _, num_ranks in measured)
    refused = isinstance(measured["in memory", 1], OutOfMemory)
    return (
        verdict(refused, "one rank is refused features in memory, by an error that says what to do"),
        verdict(not isinstance(measured["in memory", most], OutOfMemory), f"{most} ranks train with them in memory"),
        verdict(not isinstance(measured["on disk", 1], OutOfMemory), "one rank trains with them on disk"),
    )


def _same_losses(measured: dict[tuple[str, int], list[Outcome] | OutOfMemory]) -> str:
    trained = {key: outcome for key, outcome in measured.items() if not isinstance(outcome, OutOfMemory)}
    expected = trained["on disk", 1][0].training.losses
    largest = max(
        abs(loss - right) / abs(right)
        for ranks in trained.values()
        for rank in ranks
        for loss, right in zip(rank.training.losses, expected, strict=True)
    )
    claim = f"all that train compute the same losses up to {LOSS_TOLERANCE:.0e}: {largest:.1e}"
    return verdict(largest <= LOSS_TOLERANCE, claim)

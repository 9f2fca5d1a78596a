"""Features that are larger than the memory a rank may use: refused on one rank, trained on more ranks or from disk."""

import os
import resource
from collections.abc import Collection
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import fullgraph as fg
from fullgraph.bench import case
from fullgraph.bench.case import Request, partitioned
from fullgraph.bench.report import Report, mib, same_losses, verdict
from fullgraph.bench.training import RankUse, Use, steps_of, watch
from fullgraph.comm.launch import launch
from fullgraph.datasets.synthetic import Size as GraphSize
from fullgraph.datasets.synthetic import synthetic
from fullgraph.errors import OutOfMemory
from fullgraph.train.memory import PeakMemory

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

The model is PyG's own GraphSAGE class: {layers} layers, hidden width {sage}, mean aggregation, batch norm, float32;
{epochs} epochs of forward, backward and a step of Adam. *On disk* is `stream=("x",)`: the first layer reads the
features a few MiB at a time, forward and backward.

Graph: {label}, {nodes:,} nodes, {edges:,} edges, {features:,} features ({megabytes:,.0f} MiB as float32), {classes}
classes, cut once by METIS into {parts} parts. Every line is a fresh set of processes on one machine.
"""


@dataclass(frozen=True, kw_only=True)
class Size(case.Size):
    """What is trained.

    Attributes:
        graph: what is made, if no other graph is asked for.
        allowed: bytes that a rank may add to its address space.
    """

    source: str = "a synthetic graph"
    graph: GraphSize
    allowed: int


FULL = Size(
    graph=GraphSize(num_nodes=100_000, num_edges=2_000_000, num_communities=200, num_features=1_024),
    ranks=(1, 2, 4),
    allowed=384 << 20,
    hidden={"SAGE": 64},
    epochs=3,
)
QUICK = Size(
    graph=GraphSize(num_nodes=2_000, num_edges=20_000, num_communities=10, num_features=16, num_classes=5),
    ranks=(1,),
    allowed=1 << 30,
    hidden={"SAGE": 16},
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
    measured: dict[tuple[str, int], list[Outcome] | OutOfMemory] = {}
    table = request.table("GraphSAGE under a limit", COLUMNS)
    with (
        partitioned("synthetic-tiny", size.ranks[-1]) as small,
        partitioned(request.graph or synthetic(size.graph), size.ranks[-1]) as stored,
    ):
        for features, stream in {"in memory": (), "on disk": ("x",)}.items():
            for num_ranks in size.ranks:
                try:
                    found = launch(train_under_limit, stored.path, small.path, stream, size, num_ranks=num_ranks)
                except OutOfMemory as refused:
                    found = refused
                measured[features, num_ranks] = found
                table.add(num_ranks, features, *_cells(found))
    facts = request.facts(request.graph or size.source, stored)
    about = _ABOUT.format(
        allowed=size.allowed >> 20,
        megabytes=facts["nodes"] * facts["features"] * 4 / 2**20,
        **size.facts(),
        **facts,
    )
    trained = {key: _use(found) for key, found in measured.items() if not isinstance(found, OutOfMemory)}
    pairs = [pair for use in trained.values() for pair in use.beside(trained["on disk", 1])]
    losses = same_losses("all that train compute the same losses", pairs)
    return Report(
        title="Features larger than memory",
        about=about,
        verdicts=(losses,) if request.quick else (*_fits(measured), losses),
        tables=(table,),
    )


def train_under_limit(path: Path, small: Path, stream: Collection[str], size: Size) -> Outcome:
    """Train with ``allowed`` bytes of address space more than before the graph is opened.

    A small graph is trained on first: it starts the threads, whose stacks and heaps take address space by themselves.
    """
    hidden, num_layers = size.hidden["SAGE"], size.num_layers
    with closing(fg.init()) as world:
        watch(steps_of("SAGE", fg.open(small, world), hidden, num_layers), 1, world)
        in_use = int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
        resource.setrlimit(resource.RLIMIT_AS, (in_use + size.allowed, resource.RLIM_INFINITY))
        memory = PeakMemory(world.device)
        data = fg.open(path, world, stream=stream)
        opening = memory.growth()
        training = watch(steps_of("SAGE", data, hidden, num_layers), size.epochs, world)
        return Outcome(training=training, growth=max(opening, training.before + training.growth - memory.start))


def _use(outcomes: list[Outcome]) -> Use:
    return Use([each.training for each in outcomes])


def _cells(found: list[Outcome] | OutOfMemory) -> tuple[str, ...]:
    if isinstance(found, OutOfMemory):
        return f"refused: {found}", "–", "–", "–", "–"
    use = _use(found)
    growth = max(each.growth for each in found)
    return "trains", mib(growth), f"{use.cpu_seconds:.2f}", mib(use.sent), use.last_loss


def _fits(measured: dict[tuple[str, int], list[Outcome] | OutOfMemory]) -> tuple[str, ...]:
    most = max(num_ranks for _, num_ranks in measured)
    refused = isinstance(measured["in memory", 1], OutOfMemory)
    return (
        verdict(refused, "one rank is refused features in memory, by an error that says what to do"),
        verdict(not isinstance(measured["in memory", most], OutOfMemory), f"{most} ranks train with them in memory"),
        verdict(not isinstance(measured["on disk", 1], OutOfMemory), "one rank trains with them on disk"),
    )

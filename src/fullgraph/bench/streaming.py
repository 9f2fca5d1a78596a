"""Features that are larger than the memory a rank may use: refused on one rank, trained on more ranks or from disk."""

import os
import resource
from collections.abc import Collection
from contextlib import closing
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import fullgraph as fg
from fullgraph.bench import case
from fullgraph.bench.case import Findings, partitioned
from fullgraph.bench.training import RankUse, Use, steps_of, watch
from fullgraph.comm.launch import launch
from fullgraph.datasets.synthetic import Size as GraphSize
from fullgraph.datasets.synthetic import synthetic
from fullgraph.errors import OutOfMemory
from fullgraph.graph import Graph
from fullgraph.train.memory import PeakMemory

MEASURED = ("peak growth, MiB", "CPU-seconds per epoch, all ranks", "sent per epoch, MiB", "last loss")


@dataclass(frozen=True, kw_only=True)
class Size(case.Size):
    """What is trained.

    Attributes:
        made: the graph.
        allowed: bytes that a rank may add to its address space.
    """

    source: str = "a synthetic graph"
    made: GraphSize
    allowed: int

    def graph(self) -> Graph:
        return synthetic(self.made)


FULL = Size(
    made=GraphSize(num_nodes=100_000, num_edges=2_000_000, num_communities=200, num_features=1_024),
    ranks=(1, 2, 4),
    allowed=384 << 20,
    hidden={"SAGE": 64},
    epochs=3,
)
QUICK = Size(
    made=GraphSize(num_nodes=2_000, num_edges=20_000, num_communities=10, num_features=16, num_classes=5),
    ranks=(1,),
    allowed=1 << 30,
    hidden={"SAGE": 16},
    num_layers=2,
    epochs=2,
)


@case.case("Features larger than memory", FULL, QUICK)
def run(found: Findings) -> None:
    """Each rank may add {allowed:,} MiB to its address space (`RLIMIT_AS`), from before it opens the graph on. *Peak
    growth* is the high-water mark of its resident memory over that moment: graph, features and training. Figures are of
    the rank that has most and of the median epoch; bytes are rows and gradients of rows.

    The model is PyG's own GraphSAGE class: {size.num_layers} layers, hidden width {size.hidden[SAGE]}, mean
    aggregation, batch norm, float32; {size.epochs} epochs of forward, backward and a step of Adam. *On disk* is
    `stream=("x",)`: the first layer reads the features a few MiB at a time, forward and backward.

    Graph: {label}, {nodes:,} nodes, {edges:,} edges, {features:,} features ({megabytes:,.0f} MiB as float32), {classes}
    classes, cut once by METIS into {parts} parts. Every line is a fresh set of processes on one machine.
    """
    size: Size = found.size
    table = found.table("GraphSAGE under a limit")
    trained: dict[tuple[str, int], Use] = {}
    with partitioned("synthetic-tiny", size.ranks[-1]) as small, found.partitioned() as stored:
        for features, num_ranks in product(("in memory", "on disk"), size.ranks):
            outcome, stream = "trains", ("x",) if features == "on disk" else ()
            cells: dict[str, str] = dict.fromkeys(MEASURED, "–")
            try:
                use = Use(launch(train_under_limit, stored.path, small.path, stream, size, num_ranks=num_ranks))
            except OutOfMemory as refused:
                outcome = f"refused: {refused}"
            else:
                cells = use.cells(*MEASURED)
                trained[features, num_ranks] = use
            table.add({"ranks": num_ranks, "features": features, "outcome": outcome, **cells})
    nodes_times_features = found.facts["nodes"] * found.facts["features"]
    found.facts.update(allowed=size.allowed >> 20, megabytes=nodes_times_features * 4 / 2**20)
    most = size.ranks[-1]
    found.demand(
        ("in memory", 1) not in trained, "one rank is refused features in memory, by an error that says what to do"
    )
    found.demand(("in memory", most) in trained, f"{most} ranks train with them in memory")
    found.demand(("on disk", 1) in trained, "one rank trains with them on disk")
    found.same_losses("all that train compute the same losses", trained["on disk", 1].beside(trained.values()))


def train_under_limit(path: Path, small: Path, stream: Collection[str], size: Size) -> RankUse:
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
        return watch(steps_of("SAGE", data, hidden, num_layers), size.epochs, world, memory)

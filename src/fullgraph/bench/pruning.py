"""What pruning saves where one node in a hundred is labelled: rows, time, memory and bytes beside the unpruned run."""

import statistics
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch_geometric.nn.models import GraphSAGE

import fullgraph as fg
from fullgraph.bench.case import Request
from fullgraph.bench.report import Report, Table, verdict
from fullgraph.bench.training import RankUse, watch
from fullgraph.comm.launch import launch
from fullgraph.datasets import load
from fullgraph.graph import NODE
from fullgraph.train.memory import PeakMemory

LABELLED = 0.01
LOSS_TOLERANCE = 1e-9
"""Largest relative difference of losses in float64 between the pruned run and the other."""

COLUMNS = (
    "ranks",
    "run",
    "rows computed by layer 1, 2, …",
    "of all rows",
    "seconds to prune",
    "seconds per epoch",
    "CPU-seconds per epoch, all ranks",
    "peak growth, MiB",
    "sent per epoch, MiB",
    "last loss",
    "losses in float64 differ by",
)

_ABOUT = """\
The model is PyG's own GraphSAGE class: {layers} layers, hidden width {hidden}, mean aggregation, no norm, float32;
{epochs} epochs of forward, backward and a step of Adam. The loss is the mean over 1 % of the nodes, drawn from a seed
without regard to edges. *Whole* computes all rows in each layer, *pruned* is `fullgraph.prune`.

Rows are those of all ranks; time, memory and bytes those of the rank that has most, and of the median epoch. Peak
growth is the high-water mark of a rank's resident memory from the moment the graph is open on: pruning, the walks'
structure and training. Each line is a fresh set of processes on one machine, which shares its cores among the ranks.
Losses in float64 are those of a model of hidden width {narrow} with the same settings, run for that in the same way.

{graphs}
"""


@dataclass(frozen=True, kw_only=True)
class Size:
    """What is trained.

    Attributes:
        sources: of the graphs, for ``fullgraph.datasets.load``; another graph takes the place of the first.
        ranks: numbers of ranks, ascending; a graph is cut into as many parts as the last.
        hidden, num_layers: of the model.
        narrow: hidden width of the model in float64.
        epochs: how many are trained.
    """

    sources: tuple[str, ...]
    ranks: tuple[int, ...]
    hidden: int
    num_layers: int
    narrow: int
    epochs: int


FULL = Size(
    sources=("synthetic-large", "ogbn-arxiv-nofeat"), ranks=(1, 4), hidden=256, num_layers=3, narrow=32, epochs=3
)
QUICK = Size(sources=("synthetic-tiny",), ranks=(1, 2), hidden=16, num_layers=3, narrow=8, epochs=2)


@dataclass(frozen=True, kw_only=True)
class Run:
    """What one rank used.

    Attributes:
        training: epochs.
        growth: bytes of resident memory at the peak, above those when the graph was open.
        rows: rows of all ranks that each layer computes.
        seconds: that pruning took.
    """

    training: RankUse
    growth: int
    rows: tuple[int, ...]
    seconds: float


def run(request: Request) -> Report:
    """The case ``pruning``."""
    size = QUICK if request.quick else FULL
    sources = size.sources if request.graph is None else (request.graph, *size.sources[1:])
    tables, graphs, worst = [], [], 0.0
    for number, source in enumerate(sources):
        label = request.label_of(source) if number == 0 else source
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "graph.fg"
            graph = load(source)
            made = _with_features(graph)
            stored = fg.partition(made, path, num_parts=size.ranks[-1])
            facts = replace(request, label=label).facts(source, stored)
            generated = "" if made is graph else " drawn from a seed"
            del graph, made
            graphs.append(
                "Graph: {label}, {nodes:,} nodes, {edges:,} edges, {features} features{generated}, {classes} classes, "
                "cut once by METIS into {parts} parts.".format(generated=generated, **facts)
            )
            rows = []
            for num_ranks in size.ranks:
                difference = _difference(path, size, num_ranks)
                worst = max(worst, difference)
                for prunes in (False, True):
                    arguments = (path, prunes, torch.float32, size.hidden, size.num_layers, size.epochs)
                    ranks: list[Run] = launch(train_rank, *arguments, num_ranks=num_ranks)
                    rows.append(_row(num_ranks, prunes, ranks, facts["nodes"], difference))
                    request.tell(", ".join((label, *rows[-1])))
        tables.append(Table(title=label, columns=COLUMNS, rows=tuple(rows)))
    claim = f"pruned runs have the losses of the others up to a relative difference of {LOSS_TOLERANCE:.0e} in float64"
    return Report(
        title="Pruning at 1 % labels",
        about=_ABOUT.format(
            layers=size.num_layers,
            hidden=size.hidden,
            narrow=size.narrow,
            epochs=size.epochs,
            graphs="\n\n".join(graphs),
        ),
        verdicts=(verdict(worst <= LOSS_TOLERANCE, f"{claim}: {worst:.1e}"),),
        tables=tuple(tables),
    )


def _with_features(graph: fg.Graph) -> fg.Graph:
    """The graph itself if its nodes have features, else with 100 normal ones."""
    arrays, num_nodes = graph.node_arrays[NODE], graph.num_nodes[NODE]
    if "x" in arrays:
        return graph
    x = np.random.default_rng(0).standard_normal((num_nodes, 100), dtype=np.float32)
    return replace(graph, node_arrays={NODE: {**arrays, "x": x}})


def train_rank(path: Path, prunes: bool, dtype: torch.dtype, hidden: int, num_layers: int, epochs: int) -> Run:
    """Train on this rank's share of the partitioned graph at ``path``."""
    world = fg.init()
    try:
        data: Any = fg.open(path, world)
        num_features, num_classes = data.num_features, data.num_classes
        data.x = data.x.to(dtype)
        mask = labelled(data)
        memory, start = PeakMemory(world.device), time.perf_counter()
        graph: Any = fg.prune(data, mask, num_layers) if prunes else data
        rows = graph.rows_by_level[1:] if prunes else (int(data.num_nodes),) * num_layers
        mask = graph.mask if prunes else mask
        seconds = time.perf_counter() - start
        del data
        torch.manual_seed(0)
        model = GraphSAGE(num_features, hidden, num_layers, num_classes).to(dtype)
        optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
        fg.prepare(model, graph)

        def step() -> float:
            optimizer.zero_grad()
            loss = F.cross_entropy(model(graph.x, graph.edge_index)[mask], graph.y[mask])
            loss.backward()
            optimizer.step()
            return float(loss.detach())

        before = memory.growth()
        training = watch(step, epochs, world)
        growth = max(before, training.before + training.growth - memory.start)
        return Run(training=training, growth=growth, rows=rows, seconds=seconds)
    finally:
        world.close()


def labelled(data: Any) -> torch.Tensor:
    """One node in a hundred, as a mask."""
    num_nodes = int(data.num_nodes)
    chosen = torch.randperm(num_nodes, generator=torch.Generator().manual_seed(0))[: max(1, int(LABELLED * num_nodes))]
    return torch.isin(torch.arange(data.num_nodes), chosen)


def _difference(path: Path, size: Size, num_ranks: int) -> float:
    """The largest relative difference of the losses in float64."""
    whole, pruned = (
        launch(train_rank, path, prunes, torch.float64, size.narrow, size.num_layers, size.epochs, num_ranks=num_ranks)
        for prunes in (False, True)
    )
    return max(
        abs(loss - right) / abs(right)
        for rank in pruned
        for loss, right in zip(rank.training.losses, whole[0].training.losses, strict=True)
    )


def _row(num_ranks: int, prunes: bool, ranks: list[Run], num_nodes: int, difference: float) -> tuple[str, ...]:
    rows, uses = ranks[0].rows, [rank.training for rank in ranks]
    return (
        str(num_ranks),
        "pruned" if prunes else "whole",
        " / ".join(f"{count:,}" for count in rows),
        " / ".join(f"{count / num_nodes:.1%}" for count in rows),
        f"{max(rank.seconds for rank in ranks):.2f}" if prunes else "–",
        f"{statistics.median(max(each) for each in zip(*(use.seconds for use in uses), strict=True)):.2f}",
        f"{statistics.median(sum(each) for each in zip(*(use.cpu_seconds for use in uses), strict=True)):.2f}",
        f"{max(rank.growth for rank in ranks) / 2**20:,.1f}",
        f"{max(statistics.median_low(use.sent) for use in uses) / 2**20:,.1f}",
        f"{uses[0].losses[-1]:.6f}",
        f"{difference:.1e}" if prunes else "–",
    )

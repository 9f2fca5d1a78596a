"""How much memory, time and traffic one rank needs as ranks are added, in every mode, on one graph cut once.

Every configuration runs in processes of its own, so that none inherits another's memory; that all of them compute the
same losses is checked in the same run.
"""

import statistics
import tempfile
from dataclasses import dataclass
from pathlib import Path

import fullgraph as fg
from fullgraph.bench.case import Request
from fullgraph.bench.report import Report, Table, verdict
from fullgraph.bench.training import RankUse, train_rank
from fullgraph.comm.launch import launch
from fullgraph.config import MODES, Mode
from fullgraph.datasets import load

LEAST_SAVING = 4
"""What the largest number of ranks must at least save in mode ``sar``: one rank's peak over the largest rank's peak."""

LOSS_TOLERANCE = 1e-3
"""Largest relative difference of losses between configurations: float32 sums in another order, then Adam's steps."""

COLUMNS = (
    "mode",
    "ranks",
    "threads each",
    "peak growth, MiB",
    "saving",
    "resident before, MiB",
    "seconds per epoch",
    "sent per epoch, MiB",
    "last loss",
)

_ABOUT = """\
Peak growth is the high-water mark of a rank's resident memory while it trains, over its resident memory just before the
first epoch; the graph, its features and the walks over it are in memory by then. Memory and bytes are those of the rank
that has most; saving is one rank's peak growth over this one; seconds are the median epoch's, bytes the rows and
gradients of rows that a rank sends in it.

The model is PyG's own GraphSAGE class: {layers} layers, hidden width {hidden}, mean aggregation, batch norm, float32;
{epochs} epochs of forward, backward and a step of Adam. A mean's backward needs no rows of other ranks, so `keep` keeps
none here and does what `sar` does.

Graph: {label}, {nodes:,} nodes, {edges:,} edges, {features} features, {classes} classes, cut once by METIS into {parts}
parts that are opened by 1 to {parts} ranks. Each configuration runs in a fresh set of processes on this one machine,
which shares its cores among the ranks: with more ranks than cores, seconds say little.
"""


@dataclass(frozen=True, kw_only=True)
class Size:
    """What is trained: a graph and a model.

    Attributes:
        source: of the graph, for ``fullgraph.datasets.load``.
        ranks: numbers of ranks, ascending from 1; the graph is cut into as many parts as the last.
        hidden, num_layers: of the model.
        epochs: how many are trained.
    """

    source: str
    ranks: tuple[int, ...]
    hidden: int
    num_layers: int
    epochs: int


FULL = Size(source="synthetic-large", ranks=(1, 2, 4, 8), hidden=256, num_layers=3, epochs=3)
QUICK = Size(source="synthetic-tiny", ranks=(1, 2), hidden=16, num_layers=3, epochs=2)


def run(request: Request) -> Report:
    """The case ``memory``."""
    size = QUICK if request.quick else FULL
    source = request.graph or size.source
    measured: dict[tuple[Mode, int], list[RankUse]] = {}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "graph.fg"
        stored = fg.partition(load(source), path, num_parts=size.ranks[-1])
        for mode in MODES:
            for num_ranks in size.ranks:
                arguments = (path, {"mode": mode}, "SAGE", size.hidden, size.num_layers, size.epochs)
                measured[mode, num_ranks] = launch(train_rank, *arguments, num_ranks=num_ranks)
                row = _row(mode, num_ranks, measured)
                request.tell(", ".join(f"{column} {cell}" for column, cell in zip(COLUMNS, row, strict=True)))
    about = _ABOUT.format(
        layers=size.num_layers,
        hidden=size.hidden,
        epochs=size.epochs,
        **request.facts(source, stored),
    )
    return Report(
        title="Memory of a rank by mode and number of ranks",
        about=about,
        verdicts=(_same_losses(measured),)
        if request.quick
        else (_saving(measured, size.ranks[-1]), _same_losses(measured)),
        tables=(
            Table(
                title="GraphSAGE, three modes",
                columns=COLUMNS,
                rows=tuple(_row(mode, num_ranks, measured) for mode, num_ranks in measured),
            ),
        ),
    )


def _row(mode: Mode, num_ranks: int, measured: dict[tuple[Mode, int], list[RankUse]]) -> tuple[str, ...]:
    ranks, alone = measured[mode, num_ranks], measured[mode, 1]
    return (
        mode,
        str(num_ranks),
        str(ranks[0].threads),
        _mib(_peak(ranks)),
        f"{_peak(alone) / max(1, _peak(ranks)):.2f}",
        _mib(max(each.before for each in ranks)),
        f"{statistics.median(max(each) for each in zip(*(rank.seconds for rank in ranks), strict=True)):.2f}",
        _mib(max(statistics.median_low(each.sent) for each in ranks)),
        f"{ranks[0].losses[-1]:.6f}",
    )


def _saving(measured: dict[tuple[Mode, int], list[RankUse]], num_ranks: int) -> str:
    alone, largest = _peak(measured["sar", 1]), _peak(measured["sar", num_ranks])
    claim = (
        f"in mode sar one of {num_ranks} ranks takes at most 1/{LEAST_SAVING} of what one rank alone takes: "
        f"{_mib(largest)} of {_mib(alone)} MiB, 1/{alone / max(1, largest):.2f}"
    )
    return verdict(largest * LEAST_SAVING <= alone, claim)


def _same_losses(measured: dict[tuple[Mode, int], list[RankUse]]) -> str:
    expected = measured["sar", 1][0].losses
    largest = max(
        abs(loss - right) / abs(right)
        for ranks in measured.values()
        for rank in ranks
        for loss, right in zip(rank.losses, expected, strict=True)
    )
    claim = (
        "all modes and numbers of ranks compute the same losses up to a relative difference of "
        f"{LOSS_TOLERANCE:.0e}: {largest:.1e}"
    )
    return verdict(largest <= LOSS_TOLERANCE, claim)


def _peak(ranks: list[RankUse]) -> int:
    return max(each.growth for each in ranks)


def _mib(num_bytes: float) -> str:
    return f"{num_bytes / 2**20:,.1f}"

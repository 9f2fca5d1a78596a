"""Whether a rank's memory falls as a share of the graph, from 1 rank to 64, and how far it is above what must be kept.

The graph is cut once. All ranks of a configuration really run, on one machine and in turns on its cores: a single rank
that is told nothing by others would hold no rows of theirs and send none.
"""

import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

import fullgraph as fg
from fullgraph.bench.account import NUM_LAYERS, kept_numbers, numbers_at_work
from fullgraph.bench.case import Request
from fullgraph.bench.report import Report, Table, verdict
from fullgraph.bench.training import RankUse, train_rank
from fullgraph.comm.launch import launch
from fullgraph.datasets import load
from fullgraph.datasets.synthetic import Size as synthetic_size
from fullgraph.datasets.synthetic import synthetic
from fullgraph.graph import NODE, PartitionedGraph

TOLERATED = 0.1
"""Most that a peak may lie off the fitted curve, as a share of the curve."""

OVER_KEPT = 1.15
"""Most that a peak may be of what must be held, round buffers and process aside."""

FEW = 8
"""Ranks, to which that is asked: with many, own rows are so few that a few MiB of blocks at work count."""

_SMALL_NODES = 512
"""Of the graph of no size, which has as many parts as the other."""

LOSS_TOLERANCE = 1e-3
"""Largest relative difference of losses between numbers of ranks: float32 sums in another order, then Adam's steps."""

COLUMNS = (
    "ranks",
    "most rows of a rank",
    "peak growth, MiB",
    "a / ranks + b",
    "off by",
    "must be kept, MiB",
    "at work, MiB",
    "round buffers, MiB",
    "process, MiB",
    "the rest, of kept",
    "the rest, of kept and at work",
    "sent per epoch, MiB",
    "last loss",
)

_ABOUT = """\
Peak growth is the high-water mark of a rank's resident memory while it trains, over its resident memory just before the
first epoch, of the rank that has most. The curve is fitted to the peaks by least squares of relative differences: a =
{a:,.1f} MiB, b = {b:,.1f} MiB. Every rank of every line is a process and takes part in the same training, which the
losses show; seconds are not shown, because the ranks share {cores} cores.

*Must be kept* is what autograd keeps from forward to backward by the account of `docs/memory.md`, {kept} numbers for
each own row, and layer 0's remembered sum, {features} numbers. *Round buffers* are `(1 + prefetch) · round_rows` rows
of hidden width received and as many sent, at most; rounds are of {round_rows:,} rows here, to be small beside the own
rows of one rank of {most}. *At work* is what the layer at work holds beside what is kept, {at_work} numbers by the same
account. *Process* is the peak growth of the same training on a graph of {small} nodes: code that is read from disk when
it first runs, compiled products, the heap, parameters, their gradients and Adam's state. *The rest* is the peak less
round buffers and process.

The model is PyG's own GraphSAGE: {layers} layers, hidden width {hidden}, mean aggregation, batch norm, float32, mode
`sar`, {epochs} epochs of forward, backward and a step of Adam. Graph: {label}, {nodes:,} nodes, {edges:,} edges,
{features} features, {classes} classes, cut once by METIS into {parts} parts.
"""


@dataclass(frozen=True, kw_only=True)
class Size:
    """What is trained: a graph and a model.

    Attributes:
        source: of the graph, for ``fullgraph.datasets.load``.
        ranks: numbers of ranks, ascending from 1; the graph is cut into as many parts as the last.
        hidden: width of the model.
        round_rows: most rows of a round.
        epochs: how many are trained.
    """

    source: str
    ranks: tuple[int, ...]
    hidden: int
    round_rows: int
    epochs: int


FULL = Size(source="synthetic-large", ranks=(1, 2, 4, 8, 16, 32, 64), hidden=256, round_rows=2_048, epochs=2)
QUICK = Size(source="synthetic-tiny", ranks=(1, 2, 4), hidden=16, round_rows=64, epochs=2)


@dataclass(frozen=True, kw_only=True)
class _Line:
    """One number of ranks, in bytes of the rank that has most.

    Attributes:
        num_rows: own rows.
        peak: growth of resident memory.
        kept: from forward to backward.
        at_work: for the layer at work, beside ``kept``.
        buffers: of rounds in flight, at most.
        process: growth on a graph of no size.
        sent: rows per epoch.
        losses: per epoch.
    """

    num_rows: int
    peak: int
    kept: int
    at_work: int
    buffers: int
    process: int
    sent: int
    losses: list[float]

    @property
    def rest(self) -> int:
        """Of the peak, what depends on the graph and is no round buffer."""
        return self.peak - self.buffers - self.process


def run(request: Request) -> Report:
    """The case ``scaling``."""
    size = QUICK if request.quick else FULL
    source = request.graph or size.source
    lines: dict[int, _Line] = {}
    with tempfile.TemporaryDirectory() as folder:
        path, small = Path(folder) / "graph.fg", Path(folder) / "small.fg"
        stored = fg.partition(load(source), path, num_parts=size.ranks[-1])
        _no_size(small, stored, size.ranks[-1])
        for num_ranks in size.ranks:
            ranks, on_small = (_train(each, num_ranks, size) for each in (path, small))
            lines[num_ranks] = _line(ranks, on_small, stored, size)
            request.tell(f"{num_ranks} ranks: {_mib(lines[num_ranks].peak)} MiB")
    a, b = fit({num_ranks: line.peak for num_ranks, line in lines.items()})
    about = _ABOUT.format(
        a=a / 2**20,
        b=b / 2**20,
        cores=os.cpu_count(),
        kept=_kept_numbers(stored, size),
        round_rows=size.round_rows,
        most=size.ranks[-1],
        at_work=numbers_at_work(size.hidden, stored.num_classes or 0),
        small=_SMALL_NODES,
        layers=NUM_LAYERS,
        hidden=size.hidden,
        epochs=size.epochs,
        **request.facts(source, stored),
    )
    verdicts = [_same_losses(lines)]
    if not request.quick:
        verdicts += [_falls(lines, a, b), *_over_kept(lines)]
    return Report(
        title="Memory of one rank of many",
        about=about,
        verdicts=tuple(verdicts),
        tables=(
            Table(
                title="GraphSAGE, mode sar",
                columns=COLUMNS,
                rows=tuple(_row(num_ranks, line, a / num_ranks + b) for num_ranks, line in lines.items()),
            ),
        ),
    )


def _no_size(path: Path, like: PartitionedGraph, num_parts: int) -> None:
    """A graph of as many features and classes as ``like`` and next to no nodes, cut into as many parts."""
    graph = synthetic(
        synthetic_size(
            num_nodes=_SMALL_NODES,
            num_edges=8 * _SMALL_NODES,
            num_communities=num_parts,
            num_features=like.num_features(NODE),
            num_classes=like.num_classes or 1,
        )
    )
    fg.partition(graph, path, num_parts=num_parts)


def _train(path: Path, num_ranks: int, size: Size) -> list[RankUse]:
    settings = {"mode": "sar", "round_rows": size.round_rows}
    return launch(train_rank, path, settings, "SAGE", size.hidden, NUM_LAYERS, size.epochs, num_ranks=num_ranks)


def _line(ranks: list[RankUse], on_small: list[RankUse], stored: PartitionedGraph, size: Size) -> _Line:
    num_rows = int(np.diff(stored.book.for_ranks(len(ranks)).offsets[NODE]).max())
    num_buffers = 2 * (1 + fg.EngineConfig().prefetch) if len(ranks) > 1 else 0
    return _Line(
        num_rows=num_rows,
        peak=max(rank.growth for rank in ranks),
        kept=4 * num_rows * (_kept_numbers(stored, size) + stored.num_features(NODE)),
        at_work=4 * num_rows * numbers_at_work(size.hidden, stored.num_classes or 0),
        buffers=4 * num_buffers * size.round_rows * size.hidden,
        process=max(rank.growth for rank in on_small),
        sent=max(rank.sent[-1] for rank in ranks),
        losses=ranks[0].losses,
    )


def _kept_numbers(stored: PartitionedGraph, size: Size) -> int:
    recompute = fg.EngineConfig().recompute
    return kept_numbers("SAGE", size.hidden, stored.num_classes or 0, 0, dropout=False, recompute=recompute)


def fit(peaks: Mapping[int, float]) -> tuple[float, float]:
    """``a`` and ``b`` of ``a / num_ranks + b``, by least squares of relative differences."""
    counts, measured = np.array(list(peaks)), np.array(list(peaks.values()), dtype=float).clip(min=1)
    terms = np.stack([1 / (counts * measured), 1 / measured], axis=1)
    a, b = np.linalg.lstsq(terms, np.ones(len(counts)), rcond=None)[0]
    return float(a), float(b)


def _row(num_ranks: int, line: _Line, curve: float) -> tuple[str, ...]:
    return (
        str(num_ranks),
        f"{line.num_rows:,}",
        _mib(line.peak),
        _mib(curve),
        f"{100 * (line.peak / curve - 1):+.1f} %",
        _mib(line.kept),
        _mib(line.at_work),
        _mib(line.buffers),
        _mib(line.process),
        f"{line.rest / line.kept:.2f}",
        f"{line.rest / (line.kept + line.at_work):.2f}",
        _mib(line.sent),
        f"{line.losses[-1]:.6f}",
    )


def _falls(lines: dict[int, _Line], a: float, b: float) -> str:
    off = max(abs(line.peak / (a / num_ranks + b) - 1) for num_ranks, line in lines.items())
    claim = f"peaks lie within {100 * TOLERATED:.0f} % of a / ranks + b: {100 * off:.1f} % off at most"
    return verdict(off <= TOLERATED, claim)


def _over_kept(lines: dict[int, _Line]) -> tuple[str, str]:
    few = [line for num_ranks, line in lines.items() if num_ranks <= FEW]
    of_kept = max(line.rest / line.kept for line in few)
    of_both = max(line.rest / (line.kept + line.at_work) for line in few)
    claim = f"to {FEW} ranks, peak less round buffers and process at most {OVER_KEPT} × what must be kept"
    return (
        verdict(of_kept <= OVER_KEPT, f"{claim}: {of_kept:.2f} ×"),
        verdict(of_both <= OVER_KEPT, f"{claim} and what the layer at work needs: {of_both:.2f} ×"),
    )


def _same_losses(lines: dict[int, _Line]) -> str:
    expected = lines[1].losses
    pairs = [pair for line in lines.values() for pair in zip(line.losses, expected, strict=True)]
    largest = max(abs(loss - right) / abs(right) for loss, right in pairs)
    claim = f"all numbers of ranks compute the same losses up to a relative difference of {LOSS_TOLERANCE:.0e}"
    return verdict(largest <= LOSS_TOLERANCE, f"{claim}: {largest:.1e}")


def _mib(num_bytes: float) -> str:
    return f"{num_bytes / 2**20:,.1f}"

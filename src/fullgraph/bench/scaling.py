"""Whether a rank's memory falls as a share of the graph, from 1 rank to 64, and how far it is above what must be kept.

The graph is cut once. All ranks of a configuration really run, on one machine and in turns on its cores: a single rank
that is told nothing by others would hold no rows of theirs and send none.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

import fullgraph as fg
from fullgraph.bench.account import kept_numbers, numbers_at_work
from fullgraph.bench.case import Request, Size, partitioned
from fullgraph.bench.report import Report, Table, mib, same_losses, verdict
from fullgraph.bench.training import Use, train
from fullgraph.datasets.synthetic import Size as synthetic_size
from fullgraph.datasets.synthetic import synthetic
from fullgraph.graph import NODE, Graph, PartitionedGraph

TOLERATED = 0.1
"""Most that a peak may lie off the fitted curve, as a share of the curve."""

OVER_KEPT = 1.15
"""Most that a peak may be of what must be held, round buffers and process aside."""

FEW = 8
"""Ranks, to which that is asked: with many, own rows are so few that a few MiB of blocks at work count."""

_SMALL_NODES = 512
"""Of the graph of no size, which has as many parts as the other."""

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

The model is PyG's own GraphSAGE: {layers} layers, hidden width {sage}, mean aggregation, batch norm, float32, mode
`sar`, {epochs} epochs of forward, backward and a step of Adam. Graph: {label}, {nodes:,} nodes, {edges:,} edges,
{features} features, {classes} classes, cut once by METIS into {parts} parts.
"""


FULL = Size(source="synthetic-large", ranks=(1, 2, 4, 8, 16, 32, 64), hidden={"SAGE": 256}, epochs=2)
QUICK = Size(source="synthetic-tiny", ranks=(1, 2, 4), hidden={"SAGE": 16}, epochs=2)


@dataclass(frozen=True, kw_only=True)
class _Line:
    """One number of ranks, in bytes of the rank that has most.

    Attributes:
        num_rows: own rows.
        kept: from forward to backward.
        at_work: for the layer at work, beside ``kept``.
        buffers: of rounds in flight, at most.
        process: growth on a graph of no size.
        use: of all ranks.
    """

    num_rows: int
    kept: int
    at_work: int
    buffers: int
    process: int
    use: Use

    @property
    def peak(self) -> int:
        """Growth of resident memory."""
        return self.use.growth

    @property
    def rest(self) -> int:
        """Of the peak, what depends on the graph and is no round buffer."""
        return self.peak - self.buffers - self.process


def run(request: Request) -> Report:
    """The case ``scaling``."""
    size = QUICK if request.quick else FULL
    source = request.graph or size.source
    round_rows = 64 if request.quick else 2_048
    settings = {"mode": "sar", "round_rows": round_rows}
    lines: dict[int, _Line] = {}
    with partitioned(source, size.ranks[-1]) as stored, partitioned(_no_size(stored), size.ranks[-1]) as small:
        for num_ranks in size.ranks:
            use, on_small = (
                train(graph.path, settings, "SAGE", size, num_ranks=num_ranks) for graph in (stored, small)
            )
            lines[num_ranks] = _line(use, on_small, stored, size.hidden["SAGE"], round_rows)
            request.tell(f"{num_ranks} ranks: {mib(use.growth)} MiB")
    a, b = fit({num_ranks: line.peak for num_ranks, line in lines.items()})
    about = _ABOUT.format(
        a=a / 2**20,
        b=b / 2**20,
        cores=os.cpu_count(),
        kept=_kept_numbers(stored, size.hidden["SAGE"]),
        round_rows=round_rows,
        most=size.ranks[-1],
        at_work=numbers_at_work(size.hidden["SAGE"], stored.num_classes or 0),
        small=_SMALL_NODES,
        **size.facts(),
        **request.facts(source, stored),
    )
    pairs = [pair for line in lines.values() for pair in line.use.beside(lines[1].use)]
    verdicts = [same_losses("all numbers of ranks compute the same losses", pairs)]
    if not request.quick:
        verdicts += [_falls(lines, a, b), *_over_kept(lines)]
    table = Table(title="GraphSAGE, mode sar", columns=COLUMNS)
    for num_ranks, line in lines.items():
        table.add(num_ranks, *_cells(line, a / num_ranks + b))
    return Report(title="Memory of one rank of many", about=about, verdicts=tuple(verdicts), tables=(table,))


def _no_size(like: PartitionedGraph) -> Graph:
    """A graph of as many features and classes as ``like`` and next to no nodes, to be cut into as many parts."""
    return synthetic(
        synthetic_size(
            num_nodes=_SMALL_NODES,
            num_edges=8 * _SMALL_NODES,
            num_communities=like.num_parts,
            num_features=like.num_features(NODE),
            num_classes=like.num_classes or 1,
        )
    )


def _line(use: Use, on_small: Use, stored: PartitionedGraph, hidden: int, round_rows: int) -> _Line:
    num_ranks = len(use.ranks)
    num_rows = int(np.diff(stored.book.for_ranks(num_ranks).offsets[NODE]).max())
    num_buffers = 2 * (1 + fg.EngineConfig().prefetch) if num_ranks > 1 else 0
    return _Line(
        num_rows=num_rows,
        kept=4 * num_rows * (_kept_numbers(stored, hidden) + stored.num_features(NODE)),
        at_work=4 * num_rows * numbers_at_work(hidden, stored.num_classes or 0),
        buffers=4 * num_buffers * round_rows * hidden,
        process=on_small.growth,
        use=use,
    )


def _kept_numbers(stored: PartitionedGraph, hidden: int) -> int:
    recompute = fg.EngineConfig().recompute
    return kept_numbers("SAGE", hidden, stored.num_classes or 0, 0, dropout=False, recompute=recompute)


def fit(peaks: Mapping[int, float]) -> tuple[float, float]:
    """``a`` and ``b`` of ``a / num_ranks + b``, by least squares of relative differences."""
    counts, measured = np.array(list(peaks)), np.array(list(peaks.values()), dtype=float).clip(min=1)
    terms = np.stack([1 / (counts * measured), 1 / measured], axis=1)
    a, b = np.linalg.lstsq(terms, np.ones(len(counts)), rcond=None)[0]
    return float(a), float(b)


def _cells(line: _Line, curve: float) -> tuple[str, ...]:
    return (
        f"{line.num_rows:,}",
        *map(mib, (line.peak, curve)),
        f"{100 * (line.peak / curve - 1):+.1f} %",
        *map(mib, (line.kept, line.at_work, line.buffers, line.process)),
        f"{line.rest / line.kept:.2f}",
        f"{line.rest / (line.kept + line.at_work):.2f}",
        mib(max(rank.sent[-1] for rank in line.use.ranks)),
        line.use.last_loss,
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

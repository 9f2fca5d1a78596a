"""Whether a rank's memory falls as a share of the graph, from 1 rank to 64, and how far it is above what must be kept.

The graph is cut once. All ranks of a configuration really run, on one machine and in turns on its cores: a single rank
that is told nothing by others would hold no rows of theirs and send none.
"""

import os
from collections.abc import Mapping

import numpy as np

import fullgraph as fg
from fullgraph.bench.account import kept_numbers, numbers_at_work
from fullgraph.bench.case import Findings, Size, case, partitioned
from fullgraph.bench.report import Table, mib
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


FULL = Size(source="synthetic-large", ranks=(1, 2, 4, 8, 16, 32, 64), hidden={"SAGE": 256}, epochs=2)
QUICK = Size(source="synthetic-tiny", ranks=(1, 2, 4), hidden={"SAGE": 16}, epochs=2)


@case("Memory of one rank of many", FULL, QUICK)
def run(found: Findings) -> None:
    """Peak growth is the high-water mark of a rank's resident memory while it trains, over its resident memory just
    before the first epoch, of the rank that has most. The curve is fitted to the peaks by least squares of relative
    differences: a = {a:,.1f} MiB, b = {b:,.1f} MiB. Every rank of every line is a process and takes part in the same
    training, which the losses show; seconds are not shown, because the ranks share {cores} cores.

    *Must be kept* is what autograd keeps from forward to backward by the account of `docs/memory.md`, {kept} numbers
    for each own row, and layer 0's remembered sum, {features} numbers. *Round buffers* are `(1 + prefetch) ·
    round_rows` rows of hidden width received and as many sent, at most; rounds are of {round_rows:,} rows here, to be
    small beside the own rows of one rank of {most}. *At work* is what the layer at work holds beside what is kept,
    {at_work} numbers by the same account. *Process* is the peak growth of the same training on a graph of {small}
    nodes: code that is read from disk when it first runs, compiled products, the heap, parameters, their gradients and
    Adam's state. *The rest* is the peak less round buffers and process.

    The model is PyG's own GraphSAGE: {size.num_layers} layers, hidden width {size.hidden[SAGE]}, mean aggregation,
    batch norm, float32, mode `sar`, {size.epochs} epochs of forward, backward and a step of Adam. Graph: {label},
    {nodes:,} nodes, {edges:,} edges, {features} features, {classes} classes, cut once by METIS into {parts} parts.
    """
    size, hidden, default = found.size, found.size.hidden["SAGE"], fg.EngineConfig()
    round_rows = 64 if found.quick else 2_048
    settings = {"mode": "sar", "round_rows": round_rows}
    uses, on_small = [], []
    with found.partitioned() as stored, partitioned(_no_size(stored), size.ranks[-1]) as small:
        for num_ranks in size.ranks:
            for graph, trained in ((stored, uses), (small, on_small)):
                trained.append(train(graph.path, settings, "SAGE", size, num_ranks=num_ranks))
            found.request.tell(f"{num_ranks} ranks: {mib(uses[-1].growth)} MiB")
        rows = np.array([np.diff(stored.book.for_ranks(num_ranks).offsets[NODE]).max() for num_ranks in size.ranks])
    classes = stored.num_classes or 0
    numbers_kept = kept_numbers("SAGE", hidden, classes, 0, dropout=False, recompute=default.recompute)
    numbers_used = numbers_at_work(hidden, classes)

    # By number of ranks, in bytes of the rank that has most.
    num_ranks, peaks, process = (np.array(each) for each in (size.ranks, _growth(uses), _growth(on_small)))
    kept, at_work = 4 * rows * (numbers_kept + stored.num_features(NODE)), 4 * rows * numbers_used
    buffers = 4 * hidden * round_rows * 2 * (1 + default.prefetch) * (num_ranks > 1)
    rest = peaks - buffers - process
    a, b = fit(dict(zip(size.ranks, peaks, strict=True)))
    curve = a / num_ranks + b
    off, of_kept, of_both = peaks / curve - 1, rest / kept, rest / (kept + at_work)

    found.same_losses("all numbers of ranks compute the same losses", uses[0].beside(uses))
    claim = f"peaks lie within {100 * TOLERATED:.0f} % of a / ranks + b"
    found.demand(abs(off).max() <= TOLERATED, f"{claim}: {100 * abs(off).max():.1f} % off at most")
    claim = f"to {FEW} ranks, peak less round buffers and process at most {OVER_KEPT} × what must be kept"
    for shares, what in ((of_kept, ""), (of_both, " and what the layer at work needs")):
        most = shares[num_ranks <= FEW].max()
        found.demand(most <= OVER_KEPT, f"{claim}{what}: {most:.2f} ×")
    table = Table(title="GraphSAGE, mode sar")
    for at, use in enumerate(uses):
        row = {
            "ranks": num_ranks[at],
            "most rows of a rank": f"{rows[at]:,}",
            **use.cells("peak growth, MiB"),
            "a / ranks + b": mib(curve[at]),
            "off by": f"{100 * off[at]:+.1f} %",
            "must be kept, MiB": mib(kept[at]),
            "at work, MiB": mib(at_work[at]),
            "round buffers, MiB": mib(buffers[at]),
            "process, MiB": mib(process[at]),
            "the rest, of kept": f"{of_kept[at]:.2f}",
            "the rest, of kept and at work": f"{of_both[at]:.2f}",
            **use.cells("sent per epoch, MiB", "last loss"),
        }
        table.add(row)
    found.tables.append(table)
    found.facts.update(a=a / 2**20, b=b / 2**20, cores=os.cpu_count(), small=_SMALL_NODES, most=size.ranks[-1])
    found.facts.update(kept=numbers_kept, at_work=numbers_used, round_rows=round_rows)


def _growth(uses: list[Use]) -> list[int]:
    return [use.growth for use in uses]


def fit(peaks: Mapping[int, float]) -> tuple[float, float]:
    """``a`` and ``b`` of ``a / num_ranks + b``, by least squares of relative differences."""
    counts, measured = np.array(list(peaks)), np.array(list(peaks.values()), dtype=float).clip(min=1)
    terms = np.stack([1 / (counts * measured), 1 / measured], axis=1)
    a, b = np.linalg.lstsq(terms, np.ones(len(counts)), rcond=None)[0]
    return float(a), float(b)


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

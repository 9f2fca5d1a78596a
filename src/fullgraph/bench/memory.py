"""How much memory, time and traffic one rank needs as ranks are added, in every mode, on one graph cut once.

Every configuration runs in processes of its own, so that none inherits another's memory; that all of them compute the
same losses is checked in the same run.
"""

from itertools import product

from fullgraph.bench.case import Findings, Size, case
from fullgraph.bench.report import mib
from fullgraph.bench.training import Use, train
from fullgraph.config import MODES, Mode

LEAST_SAVING = 4
"""What the largest number of ranks must at least save in mode ``sar``: one rank's peak over the largest rank's peak."""

FULL = Size(source="synthetic-large", ranks=(1, 2, 4, 8), hidden={"SAGE": 256}, epochs=3)
QUICK = Size(source="synthetic-tiny", ranks=(1, 2), hidden={"SAGE": 16}, epochs=2)


@case("Memory of a rank by mode and number of ranks", FULL, QUICK)
def run(found: Findings) -> None:
    """Peak growth is the high-water mark of a rank's resident memory while it trains, over its resident memory just
    before the first epoch; the graph, its features and the walks over it are in memory by then. Memory and bytes are
    those of the rank that has most; saving is one rank's peak growth over this one; seconds are the median epoch's,
    bytes the rows and gradients of rows that a rank sends in it. *Before, bytes per edge* is what opening and preparing
    add to a rank's resident memory beside what is stored per node, for each of its in-edges.

    The model is PyG's own GraphSAGE class: {size.num_layers} layers, hidden width {size.hidden[SAGE]}, mean
    aggregation, batch norm, float32; {size.epochs} epochs of forward, backward and a step of Adam. A mean's backward
    needs no rows of other ranks, so `keep` keeps none here and does what `sar` does.

    Graph: {label}, {nodes:,} nodes, {edges:,} edges, {features} features, {classes} classes, cut once by METIS into
    {parts} parts that are opened by 1 to {parts} ranks. Each configuration runs in a fresh set of processes on this one
    machine, which shares its cores among the ranks: with more ranks than cores, seconds say little.
    """
    size: Size = found.size
    table = found.table("GraphSAGE, three modes")
    measured: dict[tuple[Mode, int], Use] = {}
    with found.partitioned() as stored:
        for mode, num_ranks in product(MODES, size.ranks):
            use = train(stored.path, {"mode": mode}, "SAGE", size, num_ranks=num_ranks)
            measured[mode, num_ranks] = use
            row = {"mode": mode, "ranks": num_ranks, **use.cells("threads each", "peak growth, MiB")}
            row["saving"] = f"{measured[mode, 1].growth / max(1, use.growth):.2f}"
            rest = (
                "resident before, MiB",
                "before, bytes per edge",
                "seconds per epoch",
                "sent per epoch, MiB",
                "last loss",
            )
            table.add(row | use.cells(*rest))
    one, most = measured["sar", 1], size.ranks[-1]
    alone, least = one.growth, measured["sar", most].growth
    found.demand(
        least * LEAST_SAVING <= alone,
        f"in mode sar one of {most} ranks takes at most 1/{LEAST_SAVING} of what one rank alone takes: "
        f"{mib(least)} of {mib(alone)} MiB, 1/{alone / max(1, least):.2f}",
    )
    found.same_losses("all modes and numbers of ranks compute the same losses", one.beside(measured.values()))

"""How much memory, time and traffic one rank needs as ranks are added, in every mode, on one graph cut once.

Every configuration runs in processes of its own, so that none inherits another's memory; that all of them compute the
same losses is checked in the same run.
"""

from fullgraph.bench.case import Request, Size, partitioned
from fullgraph.bench.report import Report, mib, same_losses, verdict
from fullgraph.bench.training import Use, train
from fullgraph.config import MODES, Mode

LEAST_SAVING = 4
"""What the largest number of ranks must at least save in mode ``sar``: one rank's peak over the largest rank's peak."""

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

The model is PyG's own GraphSAGE class: {layers} layers, hidden width {sage}, mean aggregation, batch norm, float32;
{epochs} epochs of forward, backward and a step of Adam. A mean's backward needs no rows of other ranks, so `keep` keeps
none here and does what `sar` does.

Graph: {label}, {nodes:,} nodes, {edges:,} edges, {features} features, {classes} classes, cut once by METIS into {parts}
parts that are opened by 1 to {parts} ranks. Each configuration runs in a fresh set of processes on this one machine,
which shares its cores among the ranks: with more ranks than cores, seconds say little.
"""

FULL = Size(source="synthetic-large", ranks=(1, 2, 4, 8), hidden={"SAGE": 256}, epochs=3)
QUICK = Size(source="synthetic-tiny", ranks=(1, 2), hidden={"SAGE": 16}, epochs=2)


def run(request: Request) -> Report:
    """The case ``memory``."""
    size = QUICK if request.quick else FULL
    source = request.graph or size.source
    measured: dict[tuple[Mode, int], Use] = {}
    table = request.table("GraphSAGE, three modes", COLUMNS)
    with partitioned(source, size.ranks[-1]) as stored:
        for mode in MODES:
            for num_ranks in size.ranks:
                use = train(stored.path, {"mode": mode}, "SAGE", size, num_ranks=num_ranks)
                measured[mode, num_ranks] = use
                table.add(mode, num_ranks, *_cells(use, measured[mode, 1]))
    one = measured["sar", 1]
    pairs = [pair for use in measured.values() for pair in use.beside(one)]
    verdicts = [same_losses("all modes and numbers of ranks compute the same losses", pairs)]
    if not request.quick:
        verdicts.insert(0, _saving(one.growth, measured["sar", size.ranks[-1]].growth, size.ranks[-1]))
    return Report(
        title="Memory of a rank by mode and number of ranks",
        about=_ABOUT.format(**size.facts(), **request.facts(source, stored)),
        verdicts=tuple(verdicts),
        tables=(table,),
    )


def _cells(use: Use, alone: Use) -> tuple[str, ...]:
    return (
        str(use.ranks[0].threads),
        mib(use.growth),
        f"{alone.growth / max(1, use.growth):.2f}",
        mib(max(rank.before for rank in use.ranks)),
        f"{use.seconds:.2f}",
        mib(use.sent),
        use.last_loss,
    )


def _saving(alone: int, largest: int, num_ranks: int) -> str:
    claim = (
        f"in mode sar one of {num_ranks} ranks takes at most 1/{LEAST_SAVING} of what one rank alone takes: "
        f"{mib(largest)} of {mib(alone)} MiB, 1/{alone / max(1, largest):.2f}"
    )
    return verdict(largest * LEAST_SAVING <= alone, claim)

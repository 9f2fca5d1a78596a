"""How much of a slow network's time is hidden behind computing, by how many rounds are fetched ahead.

Ranks of one machine are joined by links of 1 Gbit/s with a latency, as cheap machines in a rack are.
"""

import os
import statistics
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

import torch

import fullgraph as fg
from fullgraph.bench.case import Request, Size, partitioned
from fullgraph.bench.late import Late
from fullgraph.bench.report import Report, mib, same_losses, verdict
from fullgraph.bench.shaped import Network, network
from fullgraph.bench.training import HEADS, steps_of
from fullgraph.comm import Routes, fetch_all
from fullgraph.comm.launch import launch

PREFETCHES = (0, 1, 2)
RATE, BITS_PER_SECOND = "1gbit", 1e9
LATENCY = 0.005
LOSS_TOLERANCE = 1e-5

LEAST_HIDDEN = 0.5
PROBE_ROWS, PROBE_COLUMNS = 32_768, 128

COLUMNS = (
    "model",
    "ranks",
    "prefetch",
    "seconds per epoch",
    "waited, seconds",
    "share",
    "of it for rows, seconds",
    "can be hidden, seconds",
    "hidden of it",
    "sent per epoch, MiB",
    "last loss",
)

_ABOUT = """\
Each rank is in a network namespace of its own, behind a link shaped to 1 Gbit/s in each direction by a token-bucket
filter (measured through the exchange of rows: {speeds} Mbit/s at {ranks} ranks). Where the kernel cannot delay packets,
the exchange must: every batch of messages is posted {latency:.0f} ms late by both its ends. Sums over all ranks go over
the links without that.

Models: PyG's own GraphSAGE of hidden width {sage} and GAT of {heads} heads, {gat} columns together, 3 layers, batch
norm, float32, mode `sar`, rounds of at most 32,768 rows, one thread per rank. The ranks have the graph open once for
each `prefetch`, and these take turns epoch by epoch in the same processes; the first turn does not count. Figures are
medians over {epochs} turns; seconds are the slowest rank's, waiting is the mean over ranks and counts all waiting: for
rows, for sums, and for other ranks that have more to do.

*Can be hidden* is what is waited for rows with `prefetch` 0, when nothing travels while a rank computes, or what a rank
computes in the walks over rounds if that is less: what it computes between walks, it computes with their results.
*Hidden of it* is what is waited less for rows than with `prefetch` 0, as a share of that.

Graph: {label}, {nodes:,} nodes, {edges:,} edges, {features} features, {classes} classes, cut once by METIS into {parts}
parts.
"""


FULL = Size(source="synthetic-large", ranks=(2, 4), hidden={"SAGE": 256, "GAT": 128}, epochs=5)
QUICK = Size(source="synthetic-tiny", ranks=(2,), hidden={"SAGE": 16, "GAT": 16}, epochs=2)


@dataclass(frozen=True, kw_only=True)
class Turn:
    """One epoch of one rank.

    Attributes:
        seconds: from start to end.
        waited: of these, for other ranks.
        waited_for_rows: of these, for rows.
        computed: in the walks over rounds.
        sent: bytes of rows.
        loss: the same on every rank.
    """

    seconds: float
    waited: float
    waited_for_rows: float
    computed: float
    sent: int
    loss: float


@dataclass(frozen=True, kw_only=True)
class RankTurns:
    """What one rank measured.

    Attributes:
        bits_per_second: rows received over the link, by themselves.
        turns: per ``prefetch``, one per epoch.
    """

    bits_per_second: float
    turns: dict[int, list[Turn]]


def run(request: Request) -> Report:
    """The case ``link``.

    Raises:
        InputError: if links cannot be shaped here, with what is needed.
    """
    size = QUICK if request.quick else FULL
    source = request.graph or size.source
    table, verdicts, speeds = request.table("Rounds fetched ahead", COLUMNS), [], []
    with network(size.ranks[-1], RATE):
        pass  # refused before the graph is cut
    with partitioned(source, size.ranks[-1]) as stored:
        for num_ranks in size.ranks:
            slowest = float("inf")
            for model in size.hidden:
                with network(num_ranks, RATE) as links:
                    ranks = launch(_train_rank, links, stored.path, model, size, num_ranks=num_ranks)
                slowest = min(slowest, *(rank.bits_per_second for rank in ranks))
                for prefetch in PREFETCHES:
                    table.add(model, num_ranks, prefetch, *_cells(ranks, prefetch))
                verdicts.append(_same_losses(model, num_ranks, ranks))
                if not request.quick:
                    verdicts.append(_hides_half(model, num_ranks, ranks))
            speeds.append(f"{slowest / 1e6:.0f}")
    about = _ABOUT.format(
        speeds=" and ".join(speeds),
        ranks=" and ".join(map(str, size.ranks)),
        latency=1000 * LATENCY,
        heads=HEADS,
        **size.facts(),
        **request.facts(source, stored),
    )
    return Report(
        title="A slow link, and how much of it is hidden", about=about, verdicts=tuple(verdicts), tables=(table,)
    )


def _train_rank(links: Network, path: Path, model_name: str, size: Size) -> RankTurns:
    links.enter(int(os.environ["RANK"]))
    torch.set_num_threads(1)
    with closing(fg.init()) as joined:
        exchange = Late(joined.post, LATENCY)
        world = replace(joined, post=exchange)
        speed = _speed(world)
        opened = {prefetch: fg.open(path, world, prefetch=prefetch) for prefetch in PREFETCHES}
        hidden, num_layers = size.hidden[model_name], size.num_layers
        steps = {prefetch: steps_of(model_name, data, hidden, num_layers) for prefetch, data in opened.items()}
        turns: dict[int, list[Turn]] = {prefetch: [] for prefetch in PREFETCHES}
        for number in range(size.epochs + 1):
            for prefetch, step in steps.items():
                turn = _watch(step, world, exchange)
                if number:
                    turns[prefetch].append(turn)
        return RankTurns(bits_per_second=speed, turns=turns)


def _watch(step: Callable[[], float], world: fg.World, exchange: Late) -> Turn:
    traffic = world.traffic

    def counters() -> tuple[float, ...]:
        return (
            time.perf_counter(),
            traffic.waited_seconds,
            exchange.waited_seconds,
            traffic.walked_seconds,
            traffic.rows_bytes,
        )

    before = counters()
    loss = step()
    seconds, waited, for_rows, walked, sent = (late - early for early, late in zip(before, counters(), strict=True))
    return Turn(
        seconds=seconds, waited=waited, waited_for_rows=for_rows, computed=walked - for_rows, sent=int(sent), loss=loss
    )


def _speed(world: fg.World) -> float:
    """Bits per second at which this rank receives rows of the rank before it, while it sends to the one after it."""
    before = (world.rank - 1) % world.num_ranks
    needed = [torch.arange(PROBE_ROWS if rank == before else 0) for rank in range(world.num_ranks)]
    routes = Routes.connect(world, needed, PROBE_ROWS, prefetch=0)
    rows, seconds = torch.zeros(PROBE_ROWS, PROBE_COLUMNS), []
    for _ in range(5):
        start = time.perf_counter()
        fetch_all(routes, rows)
        seconds.append(time.perf_counter() - start - LATENCY)
    return rows.numel() * 32 / statistics.median(seconds)


def _cells(ranks: list[RankTurns], prefetch: int) -> tuple[str, ...]:
    """The row of one ``prefetch``, from its seconds on."""
    turns = [rank.turns[prefetch] for rank in ranks]
    seconds = statistics.median(max(turn.seconds for turn in together) for together in zip(*turns, strict=True))
    waited = _mean(ranks, prefetch, lambda turn: turn.waited)
    return (
        f"{seconds:.2f}",
        f"{waited:.2f}",
        f"{100 * waited / seconds:.0f} %",
        f"{_mean(ranks, prefetch, lambda turn: turn.waited_for_rows):.2f}",
        f"{_hideable(ranks):.2f}",
        f"{100 * _hidden(ranks, prefetch):.0f} %" if prefetch else "–",
        mib(max(each[-1].sent for each in turns)),
        f"{turns[0][-1].loss:.6f}",
    )


def _mean(ranks: list[RankTurns], prefetch: int, of: Callable[[Turn], float]) -> float:
    """Of the median epoch, in the mean over ranks."""
    return statistics.fmean(statistics.median(map(of, rank.turns[prefetch])) for rank in ranks)


def _hideable(ranks: list[RankTurns]) -> float:
    computed = _mean(ranks, 0, lambda turn: turn.computed)
    return min(computed, _mean(ranks, 0, lambda turn: turn.waited_for_rows))


def _hidden(ranks: list[RankTurns], prefetch: int) -> float:
    nothing, some = (_mean(ranks, each, lambda turn: turn.waited_for_rows) for each in (0, prefetch))
    return (nothing - some) / _hideable(ranks)


def _hides_half(model: str, num_ranks: int, ranks: list[RankTurns]) -> str:
    default = fg.EngineConfig().prefetch
    share = _hidden(ranks, default)
    claim = f"{model} on {num_ranks} ranks: prefetch {default} hides at least half of what can be hidden"
    return verdict(share >= LEAST_HIDDEN, f"{claim}: {100 * share:.0f} %")


def _same_losses(model: str, num_ranks: int, ranks: list[RankTurns]) -> str:
    by_prefetch = [[[turn.loss for turn in turns] for turns in rank.turns.values()] for rank in ranks]
    pairs = [(losses, of_rank[0]) for of_rank in by_prefetch for losses in of_rank]
    # With more rounds in flight a walk is cut into more of them, and sums are formed in another order.
    claim = f"{model} on {num_ranks} ranks: every prefetch computes the same losses"
    return same_losses(claim, pairs, LOSS_TOLERANCE)

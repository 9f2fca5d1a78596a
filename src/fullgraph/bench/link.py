"""How much of a slow network's time is hidden behind computing, by how many rounds are fetched ahead.

Ranks of one machine are joined by links of 1 Gbit/s with a latency, as cheap machines in a rack are.
"""

import os
import statistics
import time
from contextlib import closing
from dataclasses import replace
from itertools import product
from pathlib import Path

import torch

import fullgraph as fg
from fullgraph.bench.case import Findings, Size, case
from fullgraph.bench.late import Late
from fullgraph.bench.shaped import Network, network
from fullgraph.bench.training import HEADS, RankUse, Use, steps_of, take_turns
from fullgraph.comm import Routes, fetch_all
from fullgraph.comm.launch import launch

PREFETCHES = (0, 1, 2)
RATE = "1gbit"
LATENCY = 0.005
LOSS_TOLERANCE = 1e-5

LEAST_HIDDEN = 0.5
PROBE_ROWS, PROBE_COLUMNS = 32_768, 128


FULL = Size(source="synthetic-large", ranks=(2, 4), hidden={"SAGE": 256, "GAT": 128}, epochs=5)
QUICK = Size(source="synthetic-tiny", ranks=(2,), hidden={"SAGE": 16, "GAT": 16}, epochs=2)


@case("A slow link, and how much of it is hidden", FULL, QUICK)
def run(found: Findings) -> None:
    """Each rank is in a network namespace of its own, behind a link shaped to 1 Gbit/s in each direction by a
    token-bucket filter (measured through the exchange of rows: {speeds} Mbit/s at {ranks} ranks). Where the kernel
    cannot delay packets, the exchange must: every batch of messages is posted {latency:.0f} ms late by both its ends.
    Sums over all ranks go over the links without that.

    Models: PyG's own GraphSAGE of hidden width {size.hidden[SAGE]} and GAT of {heads} heads, {size.hidden[GAT]} columns
    together, 3 layers, batch norm, float32, mode `sar`, rounds of at most 32,768 rows, one thread per rank. The ranks
    have the graph open once for each `prefetch`, and these take turns epoch by epoch in the same processes; the first
    turn does not count. Figures are medians over {size.epochs} turns; seconds are the slowest rank's, waiting is the
    mean over ranks and counts all waiting: for rows, for sums, and for other ranks that have more to do.

    *Can be hidden* is what is waited for rows with `prefetch` 0, when nothing travels while a rank computes, or what a
    rank computes in the walks over rounds if that is less: what it computes between walks, it computes with their
    results. *Hidden of it* is what is waited less for rows than with `prefetch` 0, as a share of that.

    Graph: {label}, {nodes:,} nodes, {edges:,} edges, {features} features, {classes} classes, cut once by METIS into
    {parts} parts.
    """
    size: Size = found.size
    table = found.table("Rounds fetched ahead")
    slowest = dict.fromkeys(size.ranks, float("inf"))
    with network(size.ranks[-1], RATE):
        pass  # refused before the graph is cut
    with found.partitioned() as stored:
        for num_ranks, model in product(size.ranks, size.hidden):
            with network(num_ranks, RATE) as links:
                measured = launch(
                    _train_rank, links, stored.path, model, size, num_ranks=num_ranks, address=links.switch
                )
            slowest[num_ranks] = min(slowest[num_ranks], *(speed for speed, _ in measured))
            uses = {prefetch: Use([watched[prefetch] for _, watched in measured]) for prefetch in PREFETCHES}
            for_rows = {prefetch: _mean(use, "for_rows") for prefetch, use in uses.items()}
            hideable = min(for_rows[0], _mean(uses[0], "computed"))
            hidden = {prefetch: (for_rows[0] - waited) / hideable for prefetch, waited in for_rows.items()}
            for prefetch, use in uses.items():
                waited = _mean(use, "waited")
                row = {
                    "model": model,
                    "ranks": num_ranks,
                    "prefetch": prefetch,
                    **use.cells("seconds per epoch"),
                    "waited, seconds": f"{waited:.2f}",
                    "share": f"{100 * waited / use.epoch('seconds', max):.0f} %",
                    "of it for rows, seconds": f"{for_rows[prefetch]:.2f}",
                    "can be hidden, seconds": f"{hideable:.2f}",
                    "hidden of it": f"{100 * hidden[prefetch]:.0f} %" if prefetch else "–",
                    **use.cells("sent per epoch, MiB", "last loss"),
                }
                table.add(row)
            # With more rounds in flight a walk is cut into more of them, and sums are formed in another order.
            claim = f"{model} on {num_ranks} ranks: every prefetch computes the same losses"
            found.same_losses(claim, uses[0].beside(uses.values()), LOSS_TOLERANCE)
            default = fg.EngineConfig().prefetch
            claim = f"{model} on {num_ranks} ranks: prefetch {default} hides at least half of what can be hidden"
            found.demand(hidden[default] >= LEAST_HIDDEN, f"{claim}: {100 * hidden[default]:.0f} %")
    found.facts.update(
        speeds=" and ".join(f"{bits / 1e6:.0f}" for bits in slowest.values()),
        ranks=" and ".join(map(str, size.ranks)),
        latency=1000 * LATENCY,
        heads=HEADS,
    )


def _train_rank(links: Network, path: Path, model_name: str, size: Size) -> tuple[float, dict[int, RankUse]]:
    """Bits per second over the link, by themselves; and what each ``prefetch`` used in the epochs after the first."""
    links.enter(int(os.environ["RANK"]))
    torch.set_num_threads(1)
    with closing(fg.init()) as joined:
        late, traffic = Late(joined.post, LATENCY), joined.traffic
        world = replace(joined, post=late)
        speed = _speed(world)
        opened = {prefetch: fg.open(path, world, prefetch=prefetch) for prefetch in PREFETCHES}
        hidden, num_layers = size.hidden[model_name], size.num_layers
        steps = {prefetch: steps_of(model_name, data, hidden, num_layers) for prefetch, data in opened.items()}
        for step in steps.values():
            step()
        watched = take_turns(
            steps,
            size.epochs,
            world,
            for_rows=lambda: late.waited_seconds,
            computed=lambda: traffic.walked_seconds - late.waited_seconds,
        )
        return speed, watched


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


def _mean(use: Use, counter: str) -> float:
    """Of the median epoch, in the mean over ranks."""
    return statistics.fmean(statistics.median(rank.counted[counter]) for rank in use.ranks)

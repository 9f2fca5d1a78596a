"""Does it pay to serve several peers at a time, in place of one after another (ring, what the schedule does)?

    python benchmarks/orders.py GRAPH.fg NUM_RANKS loopback|link [TURNS]

`all-to-all` brings rows of every peer in each round, `interleaved` goes round the peers with smaller rounds, with more
of them under way. Both hold as many rows of other ranks at a time as the ring does. A turn is three layers: the mean
over neighbours, a matrix, a sum over ranks. The orders take turns in the same processes. Prints a row for each order,
then the ratios of the turns that belong together: median and quartiles.

`link` is that of `fullgraph bench link` and needs its rights: 1 Gbit/s, messages 5 ms late.
"""

import os
import resource
import sys
import time
from collections import deque
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor

import fullgraph as fg
from fullgraph import ops
from fullgraph.bench.late import Late
from fullgraph.bench.link import LATENCY, RATE
from fullgraph.bench.shaped import Network, network
from fullgraph.comm import fetch
from fullgraph.comm.launch import launch
from fullgraph.engine.walks.plan import Plan
from fullgraph.engine.walks.walk import Walk
from fullgraph.graph import EDGE
from fullgraph.graph.block import Block
from fullgraph.pyg.data.graph import rank_graph

COLUMNS, LAYERS = 128, 3


class AllToAll:
    """The mean over in-neighbours by rounds that bring some rows of every other rank."""

    def __init__(self, plan: Plan):
        self.plan, self.world, routes = plan, plan.halo.world, plan.halo.routes
        rank, num_ranks = self.world.rank, self.world.num_ranks
        share = -(-min(routes.round_rows, routes.longest) // (num_ranks - 1))
        self.targets = [(rank + step) % num_ranks for step in range(1, num_ranks)]
        self.sources = [(rank - step) % num_ranks for step in range(1, num_ranks)]
        starts = range(0, routes.longest, share)
        self.sent = [[routes.send_rows[to][start : start + share] for to in self.targets] for start in starts]
        counts = np.array([[min(max(n - start, 0), share) for n in routes.receive_counts] for start in starts])
        self.received = [[int(of_round[source]) for source in self.sources] for of_round in counts]
        first_column = np.zeros_like(counts)
        first_column[:, self.sources[1:]] = counts[:, self.sources[:-1]].cumsum(1)
        owner, position, dst = foreign_edges(plan)
        number, column = position // share, position % share + first_column[position // share, owner]
        self.blocks = blocks_of(number, column, dst, plan.num_dst, [sum(of_round) for of_round in self.received])

    def post(self, number: int, x: Tensor) -> tuple[list[dist.Work], Tensor, list[Tensor]]:
        rows = x.new_empty((sum(self.received[number]), x.shape[1]))
        arriving = rows.split(self.received[number])
        leaving = [x.index_select(0, ids) for ids in self.sent[number]]
        operations = [dist.P2POp(dist.irecv, t, p) for t, p in zip(arriving, self.sources, strict=True) if t.numel()]
        operations += [dist.P2POp(dist.isend, t, p) for t, p in zip(leaving, self.targets, strict=True) if t.numel()]
        return (self.world.post(operations) if operations else []), rows, leaving

    def mean(self, x: Tensor) -> Tensor:
        under_way: deque[tuple[list[dist.Work], Tensor, list[Tensor]]] = deque()
        ahead = self.plan.halo.routes.prefetch
        under_way.extend(self.post(number, x) for number in range(min(ahead, len(self.blocks))))
        local, out = self.plan.forward.local, x.new_empty((self.plan.num_dst, x.shape[1]))
        ops.spmm(local.indptr, local.indices, x, out, overwrites=True)
        for number, block in enumerate(self.blocks):
            if number + ahead < len(self.blocks):
                under_way.append(self.post(number + ahead, x))
            works, rows, leaving = under_way.popleft()
            with self.world.awaiting("rows of all ranks"):
                for work in works:
                    work.wait()
            ops.spmm(block.indptr, block.indices, rows, out)
            del rows, leaving
        return out.div_(self.plan.divisors(x.dtype))


class OneByOne:
    """The mean over in-neighbours by rounds that bring rows of one rank each: along a walk, as the engine does it."""

    def __init__(self, plan: Plan, walk: Walk):
        self.plan, self.walk = plan, walk

    def mean(self, x: Tensor) -> Tensor:
        incoming, local = fetch(self.walk.routes, (x,)), self.walk.local
        out = x.new_empty((self.plan.num_dst, x.shape[1]))
        ops.spmm(local.indptr, local.indices, x, out, overwrites=True)
        for number, (rows,) in incoming:
            block = self.walk.blocks[number]
            if block is not None:
                ops.spmm(block.indptr, block.indices, rows, out)
            del rows
        return out.div_(self.plan.divisors(x.dtype))


def interleaved(plan: Plan) -> Walk:
    """The same edges, walked in rounds that are as many times smaller as there are peers, a peer after the other."""
    routes, peers = plan.halo.routes, plan.halo.world.num_ranks - 1
    share = -(-min(routes.round_rows, routes.longest) // peers)
    finer = replace(routes, round_rows=share, prefetch=(1 + routes.prefetch) * peers - 1)
    per_peer = len(finer.rounds) // peers
    finer.__dict__["rounds"] = [finer.rounds[step * per_peer + k] for k in range(per_peer) for step in range(peers)]
    owner, position, dst = foreign_edges(plan)
    step = (plan.halo.world.rank - owner) % (peers + 1) - 1
    lengths = [len(round_.receive) for round_ in finer.rounds]
    found = blocks_of(position // share * peers + step, position % share, dst, plan.num_dst, lengths)
    return Walk(plan.forward.local, tuple(found), finer)


def foreign_edges(plan: Plan) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of each edge from another rank: its rank, the place of its row among those needed from there, its destination."""
    position, offsets = plan._src.numpy() - plan.halo.num_own, plan.halo.offsets.numpy()
    owner = np.searchsorted(offsets, position, side="right") - 1
    foreign = owner >= 0
    return owner[foreign], position[foreign] - offsets[owner[foreign]], plan._dst.numpy()[foreign]


def blocks_of(
    number: np.ndarray, column: np.ndarray, dst: np.ndarray, num_dst: int, num_columns: list[int]
) -> list[Block]:
    """One block for each round; ``number`` is an edge's."""
    return [
        Block.from_edges(
            torch.from_numpy(dst[number == k]),
            torch.from_numpy(column[number == k]),
            None,
            num_rows=num_dst,
            num_cols=num_cols,
        )
        for k, num_cols in enumerate(num_columns)
    ]


def measure(links: Network | None, path: str, turns: int) -> tuple[float, dict[str, np.ndarray]]:
    """The largest difference of the results, and per order ``[turns, 3]`` of seconds, CPU-seconds and waiting."""
    if links is not None:
        links.enter(int(os.environ["RANK"]))
    torch.set_num_threads(1)
    joined = fg.init()
    world = joined if links is None else replace(joined, post=Late(joined.post, LATENCY))
    try:
        plan = rank_graph(fg.open(path, world)).edges[EDGE].plan
        start = torch.randn(plan.halo.num_own, COLUMNS, generator=torch.Generator().manual_seed(world.rank))
        matrix = torch.randn(COLUMNS, COLUMNS, generator=torch.Generator().manual_seed(0)) / COLUMNS**0.5
        orders = {
            "ring": OneByOne(plan, plan.forward).mean,
            "all-to-all": AllToAll(plan).mean,
            "interleaved": OneByOne(plan, interleaved(plan)).mean,
        }
        results = {name: turn(mean, start, matrix, world)[1] for name, mean in orders.items()}
        found: dict[str, list[list[float]]] = {name: [] for name in orders}
        for number in range(turns):
            for name in list(orders)[:: 1 if number % 2 else -1]:
                found[name].append(turn(orders[name], start, matrix, world)[0])
        difference = max(float((results["ring"] - result).abs().max()) for result in results.values())
        return difference, {name: np.array(values) for name, values in found.items()}
    finally:
        world.close()


@torch.no_grad()
def turn(mean: Callable[[Tensor], Tensor], x: Tensor, matrix: Tensor, world: fg.World) -> tuple[list[float], Tensor]:
    world.all_reduce(torch.zeros(1))  # begin together
    before = (time.perf_counter(), cpu_seconds(), world.traffic.waited_seconds)
    for _ in range(LAYERS):
        x = mean(x) @ matrix
        world.all_reduce(x.sum(0))
    after = (time.perf_counter(), cpu_seconds(), world.traffic.waited_seconds)
    return [late - early for early, late in zip(before, after, strict=True)], x


def cpu_seconds() -> float:
    use = resource.getrusage(resource.RUSAGE_SELF)
    return use.ru_utime + use.ru_stime


def main(path: str, num_ranks: int, over: str, turns: int) -> None:
    with network(num_ranks, RATE) if over == "link" else nullcontext() as links:
        ranks = launch(measure, links, path, turns, num_ranks=num_ranks)
    assert max(difference for difference, _ in ranks) < 1e-4, "all orders compute the same"
    together = {
        name: np.stack(
            [
                np.max([found[name][:, 0] for _, found in ranks], axis=0),
                np.sum([found[name][:, 1] for _, found in ranks], axis=0),
                np.mean([found[name][:, 2] for _, found in ranks], axis=0),
            ]
        )
        for name in ranks[0][1]
    }
    for name, values in together.items():
        seconds, cpu, waited = np.median(values, axis=1)
        print(f"| {num_ranks} | {over} | {name} | {seconds:.3f} | {cpu:.3f} | {waited:.3f} |", flush=True)
    for name in list(together)[1:]:
        for what, ratio in zip(("seconds", "CPU-seconds"), together[name] / together["ring"], strict=False):
            low, middle, high = np.quantile(ratio, (0.25, 0.5, 0.75))
            print(f"{what}, {name} / ring in {turns} turns: {middle:.2f} ({low:.2f} to {high:.2f})")


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), sys.argv[3], int(sys.argv[4]) if len(sys.argv) > 4 else 15)

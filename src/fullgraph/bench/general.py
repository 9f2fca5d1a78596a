"""How much memory layers need that run their own code, some edges at a time, beside their activations.

The activations are what the layer holds per node anyway. They are measured too, on the same layer with a stand-in that
gives rows of the same width without looking at neighbours.
"""

import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch_geometric.nn import MessagePassing, PNAConv

import fullgraph as fg
from fullgraph.bench.case import Request, Size, partitioned
from fullgraph.bench.report import Report, mib, same_losses, verdict
from fullgraph.comm.launch import launch
from fullgraph.config import EngineConfig
from fullgraph.datasets import load
from fullgraph.graph import EDGE, NODE
from fullgraph.pyg.graph import rank_graph
from fullgraph.train.memory import PeakMemory

MOST_EXTRA = 256 * 2**20
"""Bytes that a layer may take beside its activations."""

LOSS_TOLERANCE = 1e-4
"""Largest relative difference of a layer's losses between numbers of ranks, in float32."""

COLUMNS = (
    "layer",
    "ranks",
    "threads each",
    "peak growth, MiB",
    "of it activations, MiB",
    "beside them, MiB",
    "seconds",
    "sent, MiB",
    "PyG's rows of both ends and their join, GiB",
    "loss",
)

_ABOUT = """\
One layer, forward and backward, float32, with gradients of its input, in mode `sar` with the default of
{chunk_edges:,} edges at a time. `PNAConv`: four aggregations, three scalers. `edge MLP`: a user's own layer, whose
message is a network of two linear layers over both ends' rows, summed. Both give {width} columns, and run block by
block: a row of another rank comes once per walk.

Peak growth is the high-water mark of a rank's resident memory over that just before; the graph, its features and the
blocks are in memory by then. Activations are the peak growth of the same layer with a stand-in for its
propagation, which gives rows of the same width without looking at neighbours. Each figure is from a process of its own,
and of the rank that has most.

PyG gathers both ends' rows of all edges and joins them before it does anything else: the last column but one is the
size of these alone, by arithmetic. It was not run.

Graph: {label}, {nodes:,} nodes, {edges:,} edges, {features} features, cut by METIS into {parts} parts.
"""


class EdgeMLP(MessagePassing):
    """A network over both ends' rows, summed: what a user writes, and no rule knows."""

    def __init__(self, in_channels: int, out_channels: int):
        super().__init__(aggr="add")
        self.nn = torch.nn.Sequential(
            torch.nn.Linear(2 * in_channels, out_channels), torch.nn.ReLU(), torch.nn.Linear(out_channels, out_channels)
        )

    def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
        return self.propagate(edge_index, x=x)

    def message(self, x_i: Tensor, x_j: Tensor) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        return self.nn(torch.cat([x_i, x_j], dim=-1))


def _pna(num_features: int, width: int, degrees: Tensor) -> MessagePassing:
    aggregators, scalers = ["mean", "min", "max", "std"], ["identity", "amplification", "attenuation"]
    return PNAConv(num_features, width, aggregators, scalers, degrees)


def _edge_mlp(num_features: int, width: int, degrees: Tensor) -> MessagePassing:
    return EdgeMLP(num_features, width)


# How a layer is built, and what stands in for its propagation: rows of the same width, made of x's.
LAYERS: dict[str, tuple[Callable[..., MessagePassing], Callable[..., Tensor]]] = {
    "edge MLP": (_edge_mlp, lambda index, x, width, **kwargs: x.narrow(1, 0, width).clone()),
    "PNAConv": (_pna, lambda index, x, width, **kwargs: x.repeat(1, 1, 12)),
}
FULL = Size(source="synthetic-large", ranks=(1, 2), hidden=dict.fromkeys(LAYERS, 64), num_layers=1, epochs=1)
QUICK = Size(source="synthetic-tiny", ranks=(1, 2), hidden=dict.fromkeys(LAYERS, 8), num_layers=1, epochs=1)


@dataclass(frozen=True, kw_only=True)
class RankUse:
    """What one rank used: bytes of growth, seconds, bytes of rows sent, and the loss of all ranks."""

    growth: int
    seconds: float
    sent: int
    loss: float
    threads: int


def run(request: Request) -> Report:
    """The case ``general``."""
    size = QUICK if request.quick else FULL
    source = request.graph or size.source
    extras, losses = [], {name: [] for name in LAYERS}
    table = request.table("Layers that run their own code block by block", COLUMNS)
    graph = load(source)
    degrees = torch.bincount(torch.bincount(torch.from_numpy(graph.edges[EDGE].dst), minlength=graph.num_nodes[NODE]))
    with partitioned(graph, size.ranks[-1]) as stored:
        del graph
        gathered = 4 * stored.num_features(NODE) * stored.num_edges(EDGE) * torch.float32.itemsize
        for num_ranks in size.ranks:
            for name, width in size.hidden.items():
                whole, nodes = (
                    launch(use_layer, stored.path, name, width, degrees, stand_in, num_ranks=num_ranks)
                    for stand_in in (False, True)
                )
                growth, activations = (max(rank.growth for rank in ranks) for ranks in (whole, nodes))
                extras.append(growth - activations)
                losses[name].append(whole[0].loss)
                table.add(
                    name,
                    num_ranks,
                    whole[0].threads,
                    *map(mib, (growth, activations, growth - activations)),
                    f"{max(rank.seconds for rank in whole):.1f}",
                    mib(max(rank.sent for rank in whole)),
                    f"{gathered / 2**30:.1f}",
                    f"{whole[0].loss:.6f}",
                )
    about = _ABOUT.format(
        chunk_edges=EngineConfig().chunk_edges, width=size.hidden["PNAConv"], **request.facts(source, stored)
    )
    pairs = [([loss], of_layer[:1]) for of_layer in losses.values() for loss in of_layer]
    verdicts = (same_losses("any number of ranks computes a layer's same loss", pairs, LOSS_TOLERANCE),)
    if not request.quick:
        verdicts = (_bounded(extras), *verdicts)
    return Report(title="Memory of layers that run their own code", about=about, verdicts=verdicts, tables=(table,))


def use_layer(path: Path, name: str, width: int, degrees: Tensor, stand_in: bool) -> RankUse:
    """Forward and backward of one layer on this rank's share of the partitioned graph at ``path``."""
    with closing(fg.init()) as world:
        data: Any = fg.open(path, world)
        build, without_neighbours = LAYERS[name]
        torch.manual_seed(0)
        layer: Any = build(data.num_features, width, degrees)
        fg.prepare(layer, data)
        if stand_in:
            layer.propagate = partial(without_neighbours, width=width)
        else:
            rank_graph(data).edges[EDGE].plan.build(sums=False, backward=False)
        x = data.x.requires_grad_()
        sent = world.traffic.rows_bytes
        memory, start = PeakMemory(world.device), time.perf_counter()
        loss = F.cross_entropy(layer(x, data.edge_index), data.y % width)
        loss.backward()
        return RankUse(
            growth=memory.growth(),
            seconds=time.perf_counter() - start,
            sent=world.traffic.rows_bytes - sent,
            loss=float(loss.detach()),
            threads=torch.get_num_threads(),
        )


def _bounded(extras: list[int]) -> str:
    claim = f"beside their activations, layers take at most {MOST_EXTRA / 2**20:,.0f} MiB: {mib(max(extras))} MiB"
    return verdict(max(extras) <= MOST_EXTRA, claim)

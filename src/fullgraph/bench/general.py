"""How much memory layers need that run their own code, some edges at a time, beside their activations.

The activations are what the layer holds per node anyway. They are measured too, on the same layer with a stand-in that
gives rows of the same width without looking at neighbours.
"""

import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch_geometric.nn import MessagePassing, PNAConv

import fullgraph as fg
from fullgraph.bench.case import Request
from fullgraph.bench.report import Report, Table, verdict
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
message is a network of two linear layers over both ends' rows, summed. Both give {hidden} columns, and run block by
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


@dataclass(frozen=True, kw_only=True)
class Size:
    """What is measured.

    Attributes:
        source: of the graph, for ``fullgraph.datasets.load``.
        ranks: numbers of ranks.
        hidden: width of the layers' results.
    """

    source: str
    ranks: tuple[int, ...]
    hidden: int


FULL = Size(source="synthetic-large", ranks=(1, 2), hidden=64)
QUICK = Size(source="synthetic-tiny", ranks=(1, 2), hidden=8)


def _pna(num_features: int, size: Size, degrees: Tensor) -> MessagePassing:
    aggregators, scalers = ["mean", "min", "max", "std"], ["identity", "amplification", "attenuation"]
    return PNAConv(num_features, size.hidden, aggregators, scalers, degrees)


def _edge_mlp(num_features: int, size: Size, degrees: Tensor) -> MessagePassing:
    return EdgeMLP(num_features, size.hidden)


def _of_pna(index: Any, x: Tensor, **kwargs: Any) -> Tensor:
    return x.repeat(1, 1, 12)


def _of_edge_mlp(index: Any, x: Tensor, **kwargs: Any) -> Tensor:
    return x.narrow(1, 0, QUICK.hidden if x.size(1) < FULL.hidden else FULL.hidden).clone()


# How a layer is built, and what stands in for its propagation.
LAYERS: dict[str, tuple[Callable[..., MessagePassing], Callable[..., Tensor]]] = {
    "edge MLP": (_edge_mlp, _of_edge_mlp),
    "PNAConv": (_pna, _of_pna),
}


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
    rows, extras, losses = [], [], {name: [] for name in LAYERS}
    with tempfile.TemporaryDirectory() as folder:
        path, graph = Path(folder) / "graph.fg", load(source)
        in_degree = torch.bincount(torch.from_numpy(graph.edges[EDGE].dst), minlength=graph.num_nodes[NODE])
        stored = fg.partition(graph, path, num_parts=size.ranks[-1])
        del graph
        gathered = 4 * stored.num_features(NODE) * stored.num_edges(EDGE) * torch.float32.itemsize
        for num_ranks in size.ranks:
            for name in LAYERS:
                whole, nodes = (
                    launch(use_layer, path, name, size, torch.bincount(in_degree), stand_in, num_ranks=num_ranks)
                    for stand_in in (False, True)
                )
                growth, activations = (max(rank.growth for rank in ranks) for ranks in (whole, nodes))
                extras.append(growth - activations)
                losses[name].append(whole[0].loss)
                rows.append(
                    (
                        name,
                        str(num_ranks),
                        str(whole[0].threads),
                        *(f"{count / 2**20:,.1f}" for count in (growth, activations, growth - activations)),
                        f"{max(rank.seconds for rank in whole):.1f}",
                        f"{max(rank.sent for rank in whole) / 2**20:,.1f}",
                        f"{gathered / 2**30:.1f}",
                        f"{whole[0].loss:.6f}",
                    )
                )
                request.tell(", ".join(f"{c} {cell}" for c, cell in zip(COLUMNS, rows[-1], strict=True)))
    about = _ABOUT.format(
        chunk_edges=EngineConfig().chunk_edges,
        hidden=size.hidden,
        **request.facts(source, stored),
    )
    verdicts = (_same_losses(losses),)
    if not request.quick:
        verdicts = (_bounded(extras), *verdicts)
    table = Table(title="Layers that run their own code block by block", columns=COLUMNS, rows=tuple(rows))
    return Report(title="Memory of layers that run their own code", about=about, verdicts=verdicts, tables=(table,))


def use_layer(path: Path, name: str, size: Size, degrees: Tensor, stand_in: bool) -> RankUse:
    """Forward and backward of one layer on this rank's share of the partitioned graph at ``path``."""
    world = fg.init()
    try:
        data: Any = fg.open(path, world)
        build, without_neighbours = LAYERS[name]
        torch.manual_seed(0)
        layer = build(data.num_features, size, degrees)
        fg.prepare(layer, data)
        if stand_in:
            layer.propagate = without_neighbours
        else:
            rank_graph(data).edges[EDGE].plan.build(sums=False, backward=False)
        x = data.x.requires_grad_()
        sent = world.traffic.rows_bytes
        memory, start = PeakMemory(world.device), time.perf_counter()
        loss = F.cross_entropy(layer(x, data.edge_index), data.y % size.hidden)
        loss.backward()
        return RankUse(
            growth=memory.growth(),
            seconds=time.perf_counter() - start,
            sent=world.traffic.rows_bytes - sent,
            loss=float(loss.detach()),
            threads=torch.get_num_threads(),
        )
    finally:
        world.close()


def _bounded(extras: list[int]) -> str:
    claim = (
        f"beside their activations, layers take at most {MOST_EXTRA / 2**20:,.0f} MiB: {max(extras) / 2**20:,.1f} MiB"
    )
    return verdict(max(extras) <= MOST_EXTRA, claim)


def _same_losses(losses: dict[str, list[float]]) -> str:
    largest = max(abs(loss - of_layer[0]) / abs(of_layer[0]) for of_layer in losses.values() for loss in of_layer)
    claim = f"any number of ranks computes a layer's same loss up to {LOSS_TOLERANCE:.0e}: {largest:.1e}"
    return verdict(largest <= LOSS_TOLERANCE, claim)

"""How much memory layers need that run their own code, some edges at a time, beside their activations.

The activations are what the layer holds per node anyway. They are measured too, on the same layer with a stand-in that
gives rows of the same width without looking at neighbours.
"""

from collections.abc import Callable
from contextlib import closing
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torch_geometric.nn import MessagePassing, PNAConv

import fullgraph as fg
from fullgraph.bench.case import Findings, Size, case
from fullgraph.bench.report import mib
from fullgraph.bench.training import RankUse, Use, watch
from fullgraph.comm.launch import launch
from fullgraph.graph import EDGE, NODE
from fullgraph.pyg.data.graph import rank_graph

MOST_EXTRA = 256 * 2**20
"""Bytes that a layer may take beside its activations."""

LOSS_TOLERANCE = 1e-4
"""Largest relative difference of a layer's losses between numbers of ranks, in float32."""


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


AGGREGATORS, SCALERS = ["mean", "min", "max", "std"], ["identity", "amplification", "attenuation"]
# How a layer is built, and what stands in for its propagation: rows of the same width, made of x's.
LAYERS: dict[str, tuple[Callable[..., MessagePassing], Callable[..., Tensor]]] = {
    "edge MLP": (
        lambda num_features, width, degrees: EdgeMLP(num_features, width),
        lambda index, x, width, **kwargs: x.narrow(1, 0, width).clone(),
    ),
    "PNAConv": (
        lambda num_features, width, degrees: PNAConv(num_features, width, AGGREGATORS, SCALERS, degrees),
        lambda index, x, width, **kwargs: x.repeat(1, 1, 12),
    ),
}
FULL = Size(source="synthetic-large", ranks=(1, 2), hidden=dict.fromkeys(LAYERS, 64), num_layers=1, epochs=1)
QUICK = Size(source="synthetic-tiny", ranks=(1, 2), hidden=dict.fromkeys(LAYERS, 8), num_layers=1, epochs=1)


@case("Memory of layers that run their own code", FULL, QUICK)
def run(found: Findings) -> None:
    """One layer, forward and backward, float32, with gradients of its input, in mode `sar` with the default of
    {chunk_edges:,} edges at a time. `PNAConv`: four aggregations, three scalers. `edge MLP`: a user's own layer, whose
    message is a network of two linear layers over both ends' rows, summed. Both give {width} columns, and run block by
    block: a row of another rank comes once per walk.

    Peak growth is the high-water mark of a rank's resident memory over that just before; the graph, its features and
    the blocks are in memory by then. Activations are the peak growth of the same layer with a stand-in for its
    propagation, which gives rows of the same width without looking at neighbours. Each figure is from a process of its
    own, and of the rank that has most.

    PyG gathers both ends' rows of all edges and joins them before it does anything else: the last column but one is the
    size of these alone, by arithmetic. It was not run.

    Graph: {label}, {nodes:,} nodes, {edges:,} edges, {features} features, cut by METIS into {parts} parts.
    """
    size: Size = found.size
    losses: dict[str, list[list[float]]] = {name: [] for name in LAYERS}
    table = found.table("Layers that run their own code block by block")
    extras = []
    with found.partitioned() as stored:
        gathered = 4 * stored.num_features(NODE) * stored.num_edges(EDGE) * torch.float32.itemsize
        indptrs = [stored.read_part(part).edges[EDGE].indptr for part in range(stored.num_parts)]
        degrees = torch.bincount(torch.from_numpy(np.concatenate([np.diff(indptr) for indptr in indptrs])))
        for num_ranks, (name, width) in product(size.ranks, size.hidden.items()):
            whole, nodes = (
                Use(launch(use_layer, stored.path, name, width, degrees, stand_in, num_ranks=num_ranks))
                for stand_in in (False, True)
            )
            extras.append(whole.growth - nodes.growth)
            (loss,) = whole.ranks[0].losses
            losses[name].append([loss])
            row = {
                "layer": name,
                "ranks": num_ranks,
                **whole.cells("threads each", "peak growth, MiB"),
                "of it activations, MiB": mib(nodes.growth),
                "beside them, MiB": mib(extras[-1]),
                "seconds": f"{whole.epoch('seconds', max):.1f}",
                "sent, MiB": mib(whole.sent),
                "PyG's rows of both ends and their join, GiB": f"{gathered / 2**30:.1f}",
                "loss": f"{loss:.6f}",
            }
            table.add(row)
    found.facts.update(chunk_edges=fg.EngineConfig().chunk_edges, width=size.hidden["PNAConv"])
    claim = f"beside their activations, layers take at most {MOST_EXTRA / 2**20:,.0f} MiB: {mib(max(extras))} MiB"
    found.demand(max(extras) <= MOST_EXTRA, claim)
    pairs = [(each, of_layer[0]) for of_layer in losses.values() for each in of_layer]
    found.same_losses("any number of ranks computes a layer's same loss", pairs, LOSS_TOLERANCE)


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
            rank_graph(data).edges[EDGE].plan.build(sums=False, weighted=False, backward=False)
        x = data.x.requires_grad_()

        def step() -> float:
            loss = F.cross_entropy(layer(x, data.edge_index), data.y % width)
            loss.backward()
            return float(loss.detach())

        return watch(step, 1, world)

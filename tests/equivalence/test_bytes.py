"""Every byte is accounted for: what a rank sends in an epoch equals rows × width × transfers, layer by layer.

The formula is worked out here from the whole graph and the owners of its nodes alone, not from the engine's lists. The
models here are too narrow for their zeros to be left out; what wide rows with zeros take is counted by itself.
"""

from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch_geometric import nn as pyg
from torch_geometric.nn import models
from torch_geometric.nn.resolver import aggregation_resolver

import fullgraph as fg
from fullgraph.config import MODES
from tests.combinations import combinations
from tests.covers import rows_of_cover
from tests.equivalence.graphs import NUM_CLASSES, NUM_FEATURES, awkward_graph
from tests.equivalence.own_layers import EdgeMLP
from tests.equivalence.test_law import GraphConvs
from tests.ranks import run_ranks

HIDDEN, HEADS, FLOAT = 12, 4, 4  # bytes of a float32
WIDTHS_OUT = [HIDDEN, HIDDEN, NUM_CLASSES]
WIDTHS_IN = [NUM_FEATURES, HIDDEN, HIDDEN]
SHAPE = (NUM_FEATURES, HIDDEN, 3, NUM_CLASSES)
MODELS = {
    "gcn": lambda: models.GCN(*SHAPE),
    "sage-mean": lambda: models.GraphSAGE(*SHAPE),
    "sage-max": lambda: models.GraphSAGE(*SHAPE, aggr="max"),
    "gin": lambda: models.GIN(*SHAPE),
    "gat": lambda: models.GAT(*SHAPE, heads=HEADS),
    "graph": lambda: GraphConvs(*SHAPE),
}


def bytes_of_second_epoch(world: fg.World, path: str, mode: str, name: str):
    torch.manual_seed(0)
    data = fg.open(path, world, mode=mode, round_rows=6)
    x, model = data.x.float(), fg.prepare(MODELS[name](), data)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    sent = []
    for _ in range(3):
        before = (world.traffic.rows_bytes, world.traffic.setup_bytes, world.traffic.reduced_bytes)
        optimizer.zero_grad()
        out = model(x, data.edge_index)
        F.cross_entropy(out[data.train_mask], data.y[data.train_mask]).backward()
        optimizer.step()
        after = (world.traffic.rows_bytes, world.traffic.setup_bytes, world.traffic.reduced_bytes)
        sent.append(tuple(b - a for a, b in zip(before, after, strict=True)))
    assert sent[1] == sent[2], "every epoch after the first sends the same"
    return sent[1], owners(world, data), sum(p.numel() for p in model.parameters())


def owners(world: fg.World, data: Any) -> np.ndarray:
    """The rank of each node."""
    return fg.gather(torch.full_like(data.y, world.rank)).numpy()


def expected_bytes(rank: int, owner: np.ndarray, name: str, mode: str) -> int:
    """Rows sent by ``rank``: sources to the owners of destinations, and the other way in backward.

    A sum's rows may be added up before they travel: the cheapest cover of the edges between two ranks.
    """
    src, dst = awkward_graph().edge_index.numpy()
    leaves, enters = owner[src] == rank, owner[dst] == rank
    sources_sent = len({(v, q) for v, q in zip(src[leaves], owner[dst][leaves], strict=True) if q != rank})
    sources_received = len({v for v, q in zip(src[enters], owner[src][enters], strict=True) if q != rank})
    destinations_sent = len({(v, q) for v, q in zip(dst[enters], owner[src][enters], strict=True) if q != rank})
    destinations_received = len({v for v, q in zip(dst[leaves], owner[dst][leaves], strict=True) if q != rank})
    walks_sums = name not in ("gat", "sage-max") and mode != "halo"
    if walks_sums:
        edges = list(zip(src.tolist(), dst.tolist(), strict=True))
        others = [other for other in set(owner.tolist()) if other != rank]
        sources_sent, destinations_sent = (
            sum(rows_of_cover((s, d) for s, d in edges if (owner[s], owner[d]) == ends(other)) for other in others)
            for ends in (lambda other: (rank, other), lambda other: (other, rank))
        )
    total = 0
    for layer, (width_in, width_out) in enumerate(zip(WIDTHS_IN, WIDTHS_OUT, strict=True)):
        if layer == 0 and (name != "gat" or mode == "halo"):
            continue  # the sum over the input rows was remembered in the first epoch; GAT holds other ranks' rows
        # A linear layer projects before it sums if that makes rows narrower; GIN's network and a maximum cannot.
        width = width_in if name in ("gin", "sage-max") else width_out if name == "gat" else min(width_in, width_out)
        # The last GAT layer averages its heads, each as wide as the output: so wide is the gradient of all of them.
        heads, columns = (HEADS, width if layer < 2 else HEADS * width) if name == "gat" else (0, width)
        forward = columns + heads
        if name == "gat" and mode != "halo" and width_in <= columns:
            forward = width_in  # and whoever receives it projects it
        total += 0 if layer == 0 and mode == "keep" else sources_sent * forward  # layer 0's rows are held
        if mode == "halo":
            total += sources_received * (columns + heads)
        elif name == "sage-max":
            total += destinations_sent * 2 * columns
        else:
            total += destinations_sent * (width + 3 * heads) + destinations_received * heads
    return total * FLOAT


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    path = tmp_path_factory.mktemp("graphs") / "graph.fg"
    data = awkward_graph()
    data.half_zeros, data.no_zeros = wide_rows(zeros=True), wide_rows(zeros=False)
    fg.partition(data, path, num_parts=4)
    return str(path)


@combinations(name=MODELS, mode=MODES, num_ranks=[1, 2, 4])
def test_bytes_sent_equal_the_formula(path, name, mode, num_ranks):
    answers = run_ranks(num_ranks, bytes_of_second_epoch, path, mode, name)
    for rank, ((rows, setup, reduced), owner, num_parameters) in enumerate(answers):
        assert rows == expected_bytes(rank, owner, name, mode)
        assert setup == 0
        # One flat sum of gradients; the loss and the number of rows that count, in float64; and
        # whether what layer 0 needs of other ranks is remembered (two int32), which attention in mode sar does not ask.
        asked = 0 if (name, mode) == ("gat", "sar") else 8
        assert reduced == (0 if num_ranks == 1 else num_parameters * FLOAT + 16 + asked)


def bytes_of_own_messages(world: fg.World, path: str, mode: str, aggr: str):
    data = fg.open(path, world, mode=mode, round_rows=6, chunk_edges=20)
    layer, x = EdgeMLP(NUM_FEATURES, HIDDEN), data.x.float().requires_grad_()
    layer.aggr_module = aggregation_resolver(aggr)
    fg.prepare(layer, data)
    before = world.traffic.rows_bytes
    layer(x, data.edge_index).sum().backward()
    return world.traffic.rows_bytes - before, owners(world, data)


@pytest.mark.parametrize("num_ranks", [1, 2, 4])
@pytest.mark.parametrize(("mode", "aggr", "forward_walks"), [("sar", "sum", 2), ("sar", "max", 3), ("keep", "max", 1)])
def test_rows_of_own_messages_travel_once_per_walk(path, mode, aggr, forward_walks, num_ranks):
    answers = run_ranks(num_ranks, bytes_of_own_messages, path, mode, aggr)
    owner = answers[0][1]
    src, dst = awkward_graph().edge_index.numpy()
    crosses = owner[src] != owner[dst]
    pairs = {(v, owner[v], q) for v, q in zip(src[crosses], owner[dst[crosses]], strict=True)}
    for rank, (sent, _) in enumerate(answers):
        boundary = sum(home == rank for _, home, _ in pairs)
        halo = sum(reader == rank for *_, reader in pairs)
        assert sent == (forward_walks * boundary + halo) * NUM_FEATURES * FLOAT


WIDE = 24
LAYERS = {
    "sage": lambda: pyg.SAGEConv(WIDE, WIDE),
    "gcn": lambda: pyg.GCNConv(WIDE, WIDE),
    "gin": lambda: pyg.GINConv(torch.nn.Linear(WIDE, WIDE)),
    "sage-max": lambda: pyg.SAGEConv(WIDE, WIDE, aggr="max"),
    "edge weights": lambda: pyg.GraphConv(WIDE, WIDE),
    "own message": lambda: EdgeMLP(WIDE, WIDE),
}
FORWARD_AGAIN = ("edge weights", "own message")


def wide_rows(zeros: bool) -> torch.Tensor:
    """Half of the columns are zero, so that half of every sum of rows is."""
    rows = torch.rand(awkward_graph().num_nodes, WIDE, generator=torch.Generator().manual_seed(0)) + 1
    rows[:, : WIDE // 2 if zeros else 0] = 0
    return rows


def bytes_of_wide_rows(world: fg.World, path: str, mode: str, name: str, zeros: bool):
    data = fg.open(path, world, mode=mode)
    layer, x = LAYERS[name](), (data.half_zeros if zeros else data.no_zeros).requires_grad_()
    fg.prepare(layer, data)
    # Edge weights project after their sum only where that is narrower, so these are summed by `propagate` itself.
    weights = data.edge_weight.float().requires_grad_() if name == "edge weights" else None
    for _ in range(2):  # the first time norms of edges are formed too
        start = world.traffic.rows_bytes
        if weights is None:
            out = layer(x, data.edge_index)
        else:
            out = layer.propagate(data.edge_index, x=(x, x), edge_weight=weights)
        middle = world.traffic.rows_bytes
        out.sum().backward()
    return middle - start, world.traffic.rows_bytes - middle, owners(world, data)


@combinations(name=LAYERS, mode=MODES, zeros=[True, False])
def test_zeros_do_not_travel_forward(path, name, mode, zeros):
    answers = run_ranks(3, bytes_of_wide_rows, path, mode, name, zeros)
    owner = answers[0][-1]
    src, dst = awkward_graph().edge_index.numpy()
    edges = list(zip(src.tolist(), dst.tolist(), strict=True))

    def rows_between(rank: int, other: int, *, backward: bool = False, sums: bool = False) -> int:
        ends = (other, rank) if backward else (rank, other)
        crossing = [edge for edge in edges if (owner[edge[0]], owner[edge[1]]) == ends]
        return rows_of_cover(crossing) if sums else len({edge[backward] for edge in crossing})

    sums = mode != "halo" and name in ("sage", "gcn", "gin")
    for rank, (forward, backward, _) in enumerate(answers):
        others = [other for other in range(3) if other != rank]
        rows = [rows_between(rank, other, sums=sums) for other in others]
        packed = sum(8 + 8 * -(-num * WIDE // 64) + FLOAT * num * WIDE // 2 for num in rows)
        expected = packed if zeros else sum(8 + FLOAT * num * WIDE for num in rows)
        assert forward == expected
        if mode != "halo" and name not in FORWARD_AGAIN:
            back = sum(rows_between(rank, other, backward=True, sums=sums) for other in others)
            back *= 2 if name == "sage-max" else 1
        else:
            back = sum(rows_between(other, rank) for other in others)  # gradients go home
        again = expected if mode == "sar" and name in FORWARD_AGAIN else 0
        assert backward == again + back * WIDE * FLOAT

"""The table of bytes in modes.md equals what ranks send, for every kind of layer and mode, on a directed graph."""

import numpy as np
import pytest
import torch
from torch_geometric import nn as pyg
from torch_geometric.data import Data

import fullgraph as fg
from fullgraph.pyg.data.graph import rank_graph
from tests.covers import rows_of_cover
from tests.docs.pages import ROOT, section, table_rows
from tests.ranks import run_ranks

NUM_RANKS, NUM_NODES, NUM_EDGES, WIDTH, HEADS, FLOAT = 3, 30, 120, 6, 2, 4
ROWS = [
    (kind, mode, forward.strip("`"), backward.strip("`"))
    for kind, modes, forward, backward in table_rows(section((ROOT / "docs" / "modes.md").read_text(), "Bytes"))
    for mode in modes.split(", ")
]
CHANNELS = {False: WIDTH // HEADS, True: WIDTH // HEADS - 1}
"""Of a head, by whether heads are averaged: heads side by side are as wide as the input, and averaged ones less."""
LAYERS = {
    "sum, mean": lambda: pyg.SAGEConv(WIDTH, WIDTH),
    "max, min": lambda: pyg.SAGEConv(WIDTH, WIDTH, aggr="max"),
    "attention": lambda channels, **more: pyg.GATConv(WIDTH, channels, heads=HEADS, **more),
    "dot-product attention": lambda channels, **more: pyg.TransformerConv(WIDTH, channels, heads=HEADS, **more),
    "attention of both ends": lambda channels, **more: pyg.GATv2Conv(WIDTH, channels, heads=HEADS, **more),
    "sum with trained weights": lambda: pyg.GraphConv(WIDTH, WIDTH),
    "own message, sum or mean": lambda: pyg.EdgeConv(torch.nn.Linear(2 * WIDTH, WIDTH), aggr="mean"),
    "own message, other aggregation": lambda: pyg.EdgeConv(torch.nn.Linear(2 * WIDTH, WIDTH), aggr="max"),
    "attention with edge attributes": lambda channels, **more: pyg.GATConv(
        WIDTH, channels, heads=HEADS, edge_dim=2, **more
    ),
}
EDGE_ARRAYS = {"sum with trained weights": "edge_weight", "attention with edge attributes": "edge_attr"}


def whole_graph() -> Data:
    generator = torch.Generator().manual_seed(0)
    edge_index = torch.randint(NUM_NODES, (2, NUM_EDGES), generator=generator)
    data = Data(x=torch.randn(NUM_NODES, WIDTH, generator=generator), edge_index=edge_index)
    data.edge_weight = torch.rand(NUM_EDGES, generator=generator)
    data.edge_attr = torch.rand(NUM_EDGES, 2, generator=generator)
    return data


def sent_by_a_layer(world: fg.World, path: str, mode: str, kind: str, averages: bool):
    data = fg.open(path, world, mode=mode, round_rows=4)
    torch.manual_seed(0)
    layer = LAYERS[kind](CHANNELS[averages], concat=not averages) if "attention" in kind else LAYERS[kind]()
    fg.prepare(layer, data)
    arguments = {name: data[name].clone().requires_grad_() for name in (EDGE_ARRAYS.get(kind),) if name}
    x = data.x.clone().requires_grad_()
    for _ in range(2):  # the first time structure is sent too
        start = world.traffic.rows_bytes
        out = layer(x, data.edge_index, **arguments)
        middle = world.traffic.rows_bytes
        out.sum().backward()
    return middle - start, world.traffic.rows_bytes - middle, rank_graph(data).nodes["node"].positions


def letters_of(rank: int, owner: np.ndarray, averages: bool) -> dict[str, int]:
    """The letters of the table, counted on the whole graph."""
    src, dst = whole_graph().edge_index.numpy()
    crossing = {(s, d) for s, d in zip(src.tolist(), dst.tolist(), strict=True) if owner[s] != owner[d]}
    others = [other for other in range(NUM_RANKS) if other != rank]
    return {
        "c": sum(rows_of_cover((s, d) for s, d in crossing if (owner[s], owner[d]) == (rank, q)) for q in others),
        "rc": sum(rows_of_cover((s, d) for s, d in crossing if (owner[s], owner[d]) == (q, rank)) for q in others),
        "b": len({(s, owner[d]) for s, d in crossing if owner[s] == rank}),
        "h": len({s for s, d in crossing if owner[d] == rank}),
        "rb": len({(d, owner[s]) for s, d in crossing if owner[d] == rank}),
        "rh": len({d for s, d in crossing if owner[s] == rank}),
        "F": HEADS * CHANNELS[averages],
        "G": CHANNELS[averages] if averages else WIDTH,
        "I": WIDTH,
        "H": HEADS,
    }


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    path = tmp_path_factory.mktemp("graphs") / "graph.fg"
    fg.partition(whole_graph(), path, num_parts=NUM_RANKS, method="random")
    return str(path)


def test_the_table_has_every_kind_and_mode():
    assert {(kind, mode) for kind, mode, *_ in ROWS} == {(k, m) for k in LAYERS for m in ("sar", "keep", "halo")}


@pytest.mark.parametrize(
    ("kind", "mode", "forward", "backward", "averages"),
    [(*row, averages) for row in ROWS for averages in ([False, True] if "attention" in row[0] else [False])],
)
def test_ranks_send_what_the_table_says(path, kind, mode, forward, backward, averages):
    answers = run_ranks(NUM_RANKS, sent_by_a_layer, path, mode, kind, averages)
    owner = np.empty(NUM_NODES, int)
    for rank, (*_, node_ids) in enumerate(answers):
        owner[node_ids.numpy()] = rank
    for rank, (sent_forward, sent_backward, _) in enumerate(answers):
        letters = letters_of(rank, owner, averages)
        assert sent_forward == eval(forward, letters) * FLOAT
        assert sent_backward == eval(backward, letters) * FLOAT

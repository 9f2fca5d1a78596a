"""Attention over rows that never change sends none forward after the first epoch, and computes what PyG does."""

from itertools import pairwise

import pytest
import torch
from torch_geometric import nn as pyg

import fullgraph as fg
from fullgraph.config import MODES
from tests.combinations import combinations
from tests.equivalence.cut import cut_once
from tests.equivalence.graphs import NUM_FEATURES, NUM_NODES, awkward_graph
from tests.ranks import run_ranks

HEADS, CHANNELS = 4, 6
LAYERS = {
    "gat": lambda: pyg.GATConv(NUM_FEATURES, CHANNELS, HEADS),
    "gat-both": lambda: pyg.GATConv((NUM_FEATURES, NUM_FEATURES), CHANNELS, HEADS, residual=True),
    "gatv2": lambda: pyg.GATv2Conv(NUM_FEATURES, CHANNELS, HEADS),
    "transformer": lambda: pyg.TransformerConv(NUM_FEATURES, CHANNELS, HEADS),
}
EPOCHS, CHANGED = 5, 3
"""In epoch ``CHANGED`` the input has been changed in place."""


def build(name: str) -> torch.nn.Module:
    torch.manual_seed(3)
    return LAYERS[name]().double()


def train(layer, x, edge_index, optimizer):
    """Take steps; yields the outputs so far after every forward and again after every backward."""
    outs = []
    for epoch in range(EPOCHS):
        if epoch == CHANGED:
            x += torch.arange(NUM_NODES).double().sin().unsqueeze(1)
        optimizer.zero_grad()
        out = layer((x, x) if isinstance(layer.in_channels, tuple) else x, edge_index)
        outs.append(out.detach())
        yield outs
        out.square().sum().backward()
        yield outs
        optimizer.step()


def trained(world: fg.World, path: str, mode: str, name: str, held_mib: int):
    data = fg.open(path, world, mode=mode, round_rows=5, held_mib=held_mib)
    layer = fg.prepare(build(name), data)
    optimizer = torch.optim.SGD(layer.parameters(), lr=1e-3)
    sent, outs = [world.traffic.rows_bytes], []
    for so_far in train(layer, data.x, data.edge_index, optimizer):
        sent.append(world.traffic.rows_bytes)
        outs = so_far
    steps = [after - before for before, after in pairwise(sent)]
    state = {key: value.detach() for key, value in layer.state_dict().items()}
    return [fg.gather(out) for out in outs], state, steps[::2], steps[1::2]


@pytest.fixture(scope="module")
def graph_file(tmp_path_factory):
    return cut_once(tmp_path_factory.mktemp("graphs"), awkward_graph())


@pytest.fixture(scope="module")
def plain():
    known = {}

    def run(name: str):
        if name not in known:
            data, layer = awkward_graph(), build(name)
            optimizer = torch.optim.SGD(layer.parameters(), lr=1e-3)
            (*_, outs) = train(layer, data.x.clone(), data.edge_index, optimizer)
            known[name] = outs, {key: value.detach() for key, value in layer.state_dict().items()}
        return known[name]

    return run


@combinations(name=LAYERS, held_mib=[0, 1], mode=MODES, num_ranks=[1, 2, 4])
def test_outputs_and_weights_are_those_of_pyg(graph_file, plain, name, held_mib, mode, num_ranks):
    answers = run_ranks(num_ranks, trained, graph_file("metis", num_ranks), mode, name, held_mib)
    for outs, state, forward, backward in answers:
        torch.testing.assert_close((outs, state), plain(name), rtol=1e-9, atol=1e-9)
        if num_ranks > 1:
            sends = [sent > 0 for sent in forward]
            fresh = [epoch in (0, CHANGED) for epoch in range(EPOCHS)]
            assert sends == (fresh if held_mib and mode != "sar" else [True] * EPOCHS)
            assert all(sent == 0 for sent in backward) == (mode == "halo" and held_mib == 1)


def test_rows_above_the_budget_are_not_held(graph_file):
    assert sends_forward(graph_file("metis", 2), held_mib=0) == [True, True]
    assert sends_forward(graph_file("metis", 2), held_mib=1) == [True, False]
    assert sends_forward(graph_file("metis", 2), held_mib=1, columns=1 << 20) == [True, True]


def sends_forward(path: str, held_mib: int, columns: int = NUM_FEATURES) -> list[bool]:
    (sends, *_) = run_ranks(2, forwards, path, held_mib, columns)
    return sends


def forwards(world: fg.World, path: str, held_mib: int, columns: int) -> list[bool]:
    data = fg.open(path, world, mode="keep", held_mib=held_mib)
    layer = fg.prepare(pyg.GATConv(columns, columns if columns < 100 else 1), data)
    x = (0 * data.x[:, :1].float()).expand(-1, columns)
    sends = []
    for _ in range(2):
        start = world.traffic.rows_bytes
        layer(x, data.edge_index)
        sends.append(world.traffic.rows_bytes > start)
    return sends


def evaluations(world: fg.World, path: str) -> list[bool]:
    """Whether forwards send rows: two in evaluation, one in training, one in evaluation; then of new rows each time."""
    data = fg.open(path, world, mode="keep")
    layer = fg.prepare(pyg.GATConv(NUM_FEATURES, NUM_FEATURES).double(), data)
    sends = []

    def forward(x, *, gradients: bool) -> None:
        start = world.traffic.rows_bytes
        with torch.set_grad_enabled(gradients):
            layer(x, data.edge_index)
        sends.append(world.traffic.rows_bytes > start)

    for gradients in (False, False, True, False):
        forward(data.x, gradients=gradients)
    held = data.edge_index.walked.with_self_loops.plan.memo
    known = len(held._entries)
    for _ in range(2):
        forward(data.x + 1, gradients=True)
    assert len(held._entries) == known, "rows of a tensor that is gone are not held"
    return sends


def test_evaluation_holds_what_comes_again_and_new_rows_are_let_go(graph_file):
    for sends in run_ranks(2, evaluations, graph_file("metis", 2)):
        assert sends == [True, True, False, False, True, True]

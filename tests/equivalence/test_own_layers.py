"""The law for layers of users' own, of which no rule knows."""

import pytest
import torch
import torch.nn.functional as F
from torch_geometric import nn as pyg

import fullgraph as fg
from fullgraph.pyg.explain import explained_layers
from fullgraph.pyg.rules import Way
from tests.equivalence import own_layers
from tests.equivalence.cases import F_IN, F_OUT, GRAPHS, layer, run
from tests.equivalence.comparison import assert_same, result_on_rank
from tests.equivalence.cut import cut_once
from tests.ranks import run_ranks

CASES = {
    case.name: case
    for case in (
        layer(own_layers.EdgeMLP, "edge MLP", num_in=F_IN, num_out=F_OUT),
        layer(own_layers.Gated, "both ends and edges", "edge_attr", num_in=F_IN, num_out=F_OUT, num_edge=3),
        layer(own_layers.Chained, "two chained propagations", num_in=F_IN, num_out=F_OUT),
        layer(own_layers.Several, "several aggregations", num_in=F_IN, num_out=F_OUT),
        layer(own_layers.Twice, "one tensor in several places", "edge_attr", num_in=F_IN, num_out=F_OUT, num_edge=3),
        layer(own_layers.RunningNorm, "running normaliser", num_in=F_IN, num_out=F_OUT),
        layer(own_layers.ByPlace, "rows by place", num_in=F_IN, num_out=F_OUT),
        layer(own_layers.Shifted, "rows of no source", num_in=F_IN, num_out=F_OUT),
    )
}


def on_a_rank(world: fg.World, path: str, name: str, mode: str):
    data = fg.open(path, world, mode=mode, prefetch=0, round_rows=16, chunk_edges=80)
    return result_on_rank(CASES[name], data)


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return cut_once(tmp_path_factory.mktemp("graphs"), GRAPHS["awkward"]())("metis", 4)


@pytest.mark.parametrize("name", CASES)
def test_layer_equals_plain_pyg(path, name):
    wanted = run(CASES[name], GRAPHS["awkward"](), lambda module: module)
    for num_ranks, mode in ((1, "sar"), (2, "sar"), (4, "sar"), (1, "keep"), (4, "keep")):
        assert_same(f"{num_ranks} ranks, {mode}", run_ranks(num_ranks, on_a_rank, path, name, mode), wanted)


def test_only_messages_of_single_edges_are_formed_block_by_block(path):
    data = fg.open(path)
    ways = {name: explained_layers(case.build(), data)[0].way for name, case in CASES.items()}
    looking_further = {"both ends and edges", "rows by place"}
    assert ways.pop("running normaliser") is Way.AT_ONCE
    assert {name for name, way in ways.items() if way is Way.NEIGHBOURHOODS} == looking_further
    assert {way for name, way in ways.items() if name not in looking_further} == {Way.BLOCKS}


class DroppedAndCentred(pyg.MessagePassing):
    """Drops from its messages before it looks at all nodes, which a message of some edges cannot."""

    def forward(self, x, edge_index):
        self.all = x
        return self.propagate(edge_index, x=x)

    def message(self, x_j):
        return F.dropout(x_j, 0.5) - self.all.mean(0)


@pytest.mark.parametrize("aggr", ["sum", "median"])
def test_the_first_call_draws_as_all_others(path, aggr):
    data = fg.open(path)
    layer, outs = fg.prepare(DroppedAndCentred(aggr), data), []
    for _ in range(2):  # the first finds out that it looks beyond the edges that it is given
        torch.manual_seed(7)
        outs.append(layer(data.x, data.edge_index))
    assert torch.equal(*map(fg.gather, outs))
    assert outs[0].any()

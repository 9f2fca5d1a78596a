"""Aggregations formed block by block, from statistics of messages, are those that PyG forms at once."""

import pytest
import torch
from torch import Tensor
from torch_geometric.nn import MessagePassing, aggr

import fullgraph as fg
from fullgraph.pyg.explain import explained_layers
from fullgraph.pyg.rules import Way
from tests.equivalence.cases import DEGREES, F_IN, GRAPHS, Case, layer, run
from tests.equivalence.comparison import assert_same, result_on_rank
from tests.equivalence.cut import cut_once
from tests.ranks import run_ranks

WIDTH = 4


class Own(MessagePassing):
    """Both ends, in heads; with many messages of exactly 0, which tie and multiply to 0."""

    def __init__(self, heads: int = 1, **settings):
        super().__init__(node_dim=0, **settings)
        self.heads, self.lin = heads, torch.nn.Linear(2 * F_IN, heads * WIDTH)

    def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
        out = self.propagate(edge_index, x=x)
        return out if out.dim() == 2 else out.flatten(1)

    def message(self, x_i: Tensor, x_j: Tensor) -> Tensor:
        out = self.lin(torch.cat([x_i, x_j], dim=1)).relu()
        return out if self.heads == 1 else out.view(-1, self.heads, WIDTH)


def with_aggr(name: str, aggr: object, kwargs: dict | None = None, heads: int = 1) -> Case:
    return layer(Own, name, aggr=aggr, aggr_kwargs=kwargs, heads=heads)


def several(aggrs: list, mode: str, **kwargs: object) -> dict:
    return {"aggrs": aggrs, "mode": mode, "mode_kwargs": kwargs}


EVERY = ["sum", "mean", "min", "max", "mul", "var", "std", "softmax", "powermean"]
SCALERS = ["identity", "amplification", "attenuation", "linear", "inverse_linear"]
PROJECTED = {"in_channels": WIDTH, "out_channels": 5}
CASES = {
    case.name: case
    for case in (
        *(with_aggr(name, name) for name in EVERY),
        *(with_aggr(f"{name}, heads", name, heads=2) for name in EVERY),
        with_aggr("half a variance", "var", {"semi_grad": True}),
        with_aggr("half a deviation", "std", {"semi_grad": True}),
        with_aggr("half a softmax", "softmax", {"t": 0.3, "semi_grad": True}),
        with_aggr("learned softmax", "softmax", {"t": 2.0, "learn": True}),
        with_aggr("softmax by channel", "softmax", {"learn": True, "channels": WIDTH}),
        with_aggr("power 3", "powermean", {"p": 3.0}),
        with_aggr("learned power", "powermean", {"p": 1.0, "learn": True}),
        with_aggr("power by channel, unclamped", "powermean", {"p": 2.0, "learn": True, "channels": WIDTH}),
        with_aggr("all side by side", EVERY),
        with_aggr("all side by side, heads", EVERY, heads=2),
        *(with_aggr(f"several: {mode}", "MultiAggregation", several(["mean", "max", "std"], mode))
          for mode in ("sum", "mean", "max", "min", "logsumexp", "std", "var")),
        with_aggr("several: projected", "MultiAggregation", several(["mean", "max"], "proj", **PROJECTED)),
        with_aggr("scaled by degree", "DegreeScalerAggregation",
                  {"aggr": ["mean", "max", "std"], "scaler": SCALERS, "deg": DEGREES}),
        with_aggr("scaled, learned", "DegreeScalerAggregation",
                  {"aggr": ["mean", "sum"], "scaler": SCALERS, "deg": DEGREES, "train_norm": True}, heads=2),
    )
}  # fmt: skip


RUNS = [[(4, "sar")], [(1, "sar"), (2, "keep")], [(4, "keep")], [(2, "sar")]]
"""On how many ranks and in which mode a case runs, in turn: each on several."""


def on_a_rank(world: fg.World, path: str, name: str, mode: str):
    # So few edges at a time that the hub's lie in many pieces.
    data = fg.open(path, world, mode=mode, prefetch=1, round_rows=5, chunk_edges=7)
    assert explained_layers(CASES[name].build(), data)[0].way is Way.BLOCKS
    return result_on_rank(CASES[name], data)


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return cut_once(tmp_path_factory.mktemp("graphs"), GRAPHS["awkward"]())("metis", 4)


@pytest.mark.parametrize(("number", "name"), list(enumerate(CASES)), ids=list(CASES))
def test_aggregation_equals_plain_pyg(path, in_turn, number, name):
    wanted = run(CASES[name], GRAPHS["awkward"](), lambda module: module)
    for num_ranks, mode in in_turn(number, RUNS):
        assert_same(f"{num_ranks} ranks, {mode}", run_ranks(num_ranks, on_a_rank, path, name, mode), wanted)


class Halved(aggr.SumAggregation):
    """A user's own: it may be anything."""

    def forward(self, *args, **kwargs):
        return super().forward(*args, **kwargs) / 2


def hooked() -> aggr.Aggregation:
    module = aggr.SumAggregation()
    module.register_forward_hook(lambda module, args, out: out + 1)
    return module


ATTENTION = {"num_heads": 1, "dropout": 0.5, **PROJECTED}
WHOLE = {
    "median": lambda: Own(aggr="median"),
    "one of several": lambda: Own(aggr=["sum", "median"]),
    "attention over several": lambda: Own(
        aggr=aggr.MultiAggregation(["sum", "max"], mode="attn", mode_kwargs=ATTENTION)
    ),
    "half of two variances": lambda: Own(aggr=["var", "std"], aggr_kwargs={"aggrs_kwargs": [{"semi_grad": True}, {}]}),
    "a user's own": lambda: Own(aggr=Halved()),
    "a hook": lambda: Own(aggr=hooked()),
}


@pytest.mark.parametrize("name", WHOLE)
def test_other_aggregations_get_whole_neighbourhoods(path, name):
    data = fg.open(path)
    assert explained_layers(WHOLE[name](), data)[0].way is Way.NEIGHBOURHOODS

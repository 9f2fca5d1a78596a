"""The law for layers of users' own and for the models of ``torch_geometric.nn.models`` that take rows and edges."""

from typing import Any

import pytest
import torch
from torch_geometric.nn import models

import fullgraph as fg
from tests.equivalence import own_layers
from tests.equivalence.cases import DEGREES, F_IN, F_OUT, GRAPHS, NODE_LEAVES, Result, layer, run
from tests.ranks import run_ranks

PNA = {"aggregators": ["mean", "max", "std"], "scalers": ["identity", "amplification"], "deg": DEGREES}
THREE = {"in_channels": F_IN, "hidden_channels": 8, "num_layers": 3, "out_channels": 4}
CASES = {
    case.name: case
    for case in (
        layer(own_layers.EdgeMLP, "edge MLP", num_in=F_IN, num_out=F_OUT),
        layer(own_layers.Gated, "both ends and edges", "edge_attr", num_in=F_IN, num_out=F_OUT, num_edge=3),
        layer(own_layers.Chained, "two chained propagations", num_in=F_IN, num_out=F_OUT),
        layer(own_layers.Several, "several aggregations", num_in=F_IN, num_out=F_OUT),
        layer(own_layers.RunningNorm, "running normaliser", num_in=F_IN, num_out=F_OUT),
        layer(models.GCN, "GCN, jumping", "edge_weight", **THREE, jk="cat", norm="batch"),
        layer(models.GraphSAGE, "GraphSAGE, jumping", **THREE, jk="max"),
        layer(models.GIN, "GIN, batch norm", **THREE, norm="batch"),
        layer(models.GAT, "GAT, jumping LSTM", "edge_attr", **THREE, heads=2, edge_dim=3, jk="lstm"),
        layer(models.GAT, "GAT, version 2", **THREE, v2=True, heads=2),
        layer(models.PNA, "PNA", **THREE, **PNA),
        layer(models.EdgeCNN, "EdgeCNN", **THREE),
    )
}


def on_a_rank(world: fg.World, folder: str, name: str):
    data = fg.open(f"{folder}/awkward.fg", world, prefetch=0, round_rows=16, chunk_edges=80)
    result = run(CASES[name], data, lambda module: fg.convert(module, data))
    return Result(
        fg.gather_rows(result.out, data),
        {key: None if result.leaves[key] is None else fg.gather_rows(result.leaves[key], data) for key in NODE_LEAVES},
        {key: world.all_reduce(grad.clone()) for key, grad in result.parameters.items()},
        result.buffers,
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("graphs")
    fg.partition(GRAPHS["awkward"](), folder / "awkward.fg", num_parts=4)
    return str(folder)


@pytest.mark.parametrize("name", CASES)
def test_model_equals_plain_pyg(folder, name):
    wanted = run(CASES[name], GRAPHS["awkward"](), lambda module: module)
    close: dict[str, Any] = {"rtol": 1e-9, "atol": 1e-9}
    for num_ranks in (1, 2, 4):
        got = run_ranks(num_ranks, on_a_rank, folder, name)[0]
        torch.testing.assert_close(got.out, wanted.out, **close)
        torch.testing.assert_close(got.leaves["x"], wanted.leaves["x"], **close)
        torch.testing.assert_close(got.parameters, wanted.parameters, **close)
        torch.testing.assert_close(got.buffers, wanted.buffers, **close)

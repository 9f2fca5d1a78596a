"""The law for layers of users' own, of which no rule knows."""

from typing import Any

import pytest
import torch

import fullgraph as fg
from tests.equivalence import own_layers
from tests.equivalence.cases import EDGE_LEAVES, F_IN, F_OUT, GRAPHS, NODE_LEAVES, Result, layer, run
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
    )
}


def on_a_rank(world: fg.World, folder: str, name: str):
    data = fg.open(f"{folder}/awkward.fg", world, prefetch=0, round_rows=16, chunk_edges=80)
    result = run(CASES[name], data, lambda module: fg.convert(module, data))
    whole = Result(
        fg.gather_rows(result.out, data),
        {key: None if result.leaves[key] is None else fg.gather_rows(result.leaves[key], data) for key in NODE_LEAVES},
        {key: world.all_reduce(grad.clone()) for key, grad in result.parameters.items()},
        result.buffers,
    )
    return whole, data.edge_ids, {key: result.leaves[key] for key in EDGE_LEAVES}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("graphs")
    fg.partition(GRAPHS["awkward"](), folder / "awkward.fg", num_parts=4)
    return str(folder)


@pytest.mark.parametrize("name", CASES)
def test_layer_equals_plain_pyg(folder, name):
    wanted = run(CASES[name], GRAPHS["awkward"](), lambda module: module)
    close: dict[str, Any] = {"rtol": 1e-9, "atol": 1e-9}
    for num_ranks in (1, 2, 4):
        answers = run_ranks(num_ranks, on_a_rank, folder, name)
        got = answers[0][0]
        torch.testing.assert_close(got.out, wanted.out, **close)
        torch.testing.assert_close(got.leaves["x"], wanted.leaves["x"], **close)
        torch.testing.assert_close(got.parameters, wanted.parameters, **close)
        torch.testing.assert_close(got.buffers, wanted.buffers, **close)
        order = torch.argsort(torch.cat([ids for _, ids, _ in answers]))
        for key in EDGE_LEAVES:
            if wanted.leaves[key] is not None:
                edges = torch.cat([leaves[key] for *_, leaves in answers])[order]
                torch.testing.assert_close(edges, wanted.leaves[key], **close)

"""The law with several node types: on any number of ranks, in any mode and partition, everything is plain PyG's."""

from typing import Any

import pytest
import torch

import fullgraph as fg
from tests.equivalence.cut import cut_once
from tests.equivalence.hetero import HETERO_CASES, awkward_hetero, run_hetero
from tests.equivalence.runs import RUNS
from tests.ranks import run_ranks

CASES = {case.name: case for case in HETERO_CASES}


def on_a_rank(world: fg.World, path: str, mode: str, name: str) -> Any:
    data = fg.open(path, world, mode=mode, round_rows=4, chunk_edges=20)
    result = vars(run_hetero(CASES[name], data, lambda module: fg.prepare(module, data)))
    return {of: {key: fg.gather(value) for key, value in found.items()} for of, found in result.items()}


@pytest.fixture(scope="module")
def graph_file(tmp_path_factory):
    return cut_once(tmp_path_factory.mktemp("graphs"), awkward_hetero())


@pytest.mark.parametrize(("number", "name"), list(enumerate(CASES)), ids=list(CASES))
def test_hetero_equals_plain_pyg(graph_file, in_turn, number, name):
    wanted = vars(run_hetero(CASES[name], awkward_hetero(), lambda module: module))
    for num_ranks, mode, cut in in_turn(number, RUNS):
        what = f"{num_ranks} ranks, {mode}"
        for found in run_ranks(num_ranks, on_a_rank, graph_file(*cut), mode, name):
            torch.testing.assert_close(
                found, wanted, rtol=1e-9, atol=1e-10, msg=lambda text, what=what: f"{what}: {text}"
            )

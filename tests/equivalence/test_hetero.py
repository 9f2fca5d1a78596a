"""The law with several node types: on any number of ranks, in any mode and partition, everything is plain PyG's."""

from typing import Any

import pytest
import torch

import fullgraph as fg
from fullgraph.config import MODES
from tests.equivalence.cut import cut_once
from tests.equivalence.hetero import HETERO_CASES, awkward_hetero, run_hetero
from tests.ranks import run_ranks

CASES = {case.name: case for case in HETERO_CASES}


def on_a_rank(world: fg.World, path: str, modes: tuple[str, ...], name: str) -> Any:
    answers = {}
    for mode in modes:
        data = fg.open(path, world, mode=mode, round_rows=4, chunk_edges=20)
        result = vars(run_hetero(CASES[name], data, lambda module, data=data: fg.prepare(module, data)))
        answers[mode] = {of: {key: fg.gather(value) for key, value in found.items()} for of, found in result.items()}
    return answers


@pytest.fixture(scope="module")
def graph_file(tmp_path_factory):
    return cut_once(tmp_path_factory.mktemp("graphs"), awkward_hetero())


@pytest.mark.parametrize("name", CASES)
def test_hetero_equals_plain_pyg(graph_file, name):
    wanted = vars(run_hetero(CASES[name], awkward_hetero(), lambda module: module))
    for num_ranks, modes, cut in (
        (1, MODES, ("metis", 1)),
        (2, ("keep", "halo"), ("metis", 2)),
        (3, ("sar",), ("random", 6)),
        (4, ("sar",), ("metis", 4)),
    ):
        for answer in run_ranks(num_ranks, on_a_rank, graph_file(*cut), modes, name):
            for mode, found in answer.items():
                what = f"{num_ranks} ranks, {mode}"
                torch.testing.assert_close(
                    found, wanted, rtol=1e-9, atol=1e-10, msg=lambda text, what=what: f"{what}: {text}"
                )

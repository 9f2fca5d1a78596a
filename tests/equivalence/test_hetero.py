"""The law with several node types: on any number of ranks, in any mode and partition, everything is plain PyG's."""

from typing import Any

import pytest
import torch

import fullgraph as fg
from fullgraph.config import MODES
from tests.equivalence.cut import cut_once
from tests.equivalence.hetero import HETERO_CASES, RELATIONS, SIZES, HeteroCase, awkward_hetero, run_hetero
from tests.ranks import run_ranks

CASES = {case.name: case for case in HETERO_CASES}
CLOSE = {"rtol": 1e-9, "atol": 1e-10}


def on_a_rank(world: fg.World, path: str, mode: str, name: str) -> Any:
    data = fg.open(path, world, mode=mode, round_rows=4, chunk_edges=20)
    result = run_hetero(CASES[name], data, lambda module: fg.convert(module, data))
    out = {kind: fg.gather_rows(rows, data, kind) for kind, rows in result.out.items()}
    inputs = {kind: fg.gather_rows(rows, data, kind) for kind, rows in result.inputs.items()}
    edges = {r: (data[r].edge_place, rows) for r, rows in result.edges.items()}
    return out, inputs, edges, {key: world.all_reduce(grad.clone()) for key, grad in result.parameters.items()}


@pytest.fixture(scope="module")
def graph_file(tmp_path_factory):
    data = awkward_hetero()
    for relation in RELATIONS:
        data[relation].edge_place = torch.arange(data[relation].num_edges)
    return cut_once(tmp_path_factory.mktemp("graphs"), data)


@pytest.fixture(scope="module")
def expected():
    known = {}

    def run(case: HeteroCase):
        if case.name not in known:
            known[case.name] = run_hetero(case, awkward_hetero(), lambda module: None)
        return known[case.name]

    return run


def assert_equals(answers: list[Any], wanted: Any) -> None:
    out, inputs, _, parameters = answers[0]
    assert out.keys() == wanted.out.keys()
    for kind, rows in wanted.out.items():
        torch.testing.assert_close(out[kind], rows, **CLOSE, msg=lambda text, kind=kind: f"out of {kind}: {text}")
    for kind in SIZES:
        torch.testing.assert_close(
            inputs[kind], wanted.inputs[kind], **CLOSE, msg=lambda text, kind=kind: f"grad of {kind}: {text}"
        )
    for relation, grads in wanted.edges.items():
        got = torch.full_like(grads, torch.nan)
        for answer in answers:
            ids, rows = answer[2][relation]
            got[ids] = rows
        torch.testing.assert_close(got, grads, **CLOSE, msg=lambda text, r=relation: f"grad of edges {r}: {text}")
    assert parameters.keys() == wanted.parameters.keys()
    for key, grad in wanted.parameters.items():
        torch.testing.assert_close(parameters[key], grad, **CLOSE, msg=lambda text, key=key: f"{key}: {text}")


@pytest.mark.parametrize("num_ranks", [1, 2, 3, 4])
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", CASES)
def test_hetero_equals_plain_pyg(graph_file, expected, name, mode, num_ranks):
    answers = run_ranks(num_ranks, on_a_rank, graph_file("metis", num_ranks), mode, name)
    assert_equals(answers, expected(CASES[name]))


@pytest.mark.parametrize("name", CASES)
def test_hetero_does_not_depend_on_the_partition(graph_file, expected, name):
    assert_equals(run_ranks(3, on_a_rank, graph_file("random", 6), "sar", name), expected(CASES[name]))

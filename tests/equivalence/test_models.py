"""Every class of ``torch_geometric.nn.models`` is exact on any number of ranks, or refused, or no model of a graph."""

from typing import Any

import pytest
import torch
from torch_geometric.data import Data
from torch_geometric.nn import models

import fullgraph as fg
from tests.equivalence.cases import EDGE_LEAVES, GRAPHS, NODE_LEAVES, Result
from tests.equivalence.comparison import assert_same, gathered
from tests.equivalence.models import CASES, FUNCTIONS, LOSS, REFUSED, ModelCase
from tests.ranks import run_ranks


def run(case: ModelCase, g: Data, convert: Any) -> Result:
    """The result, the gradients of the graph's arrays and of the parameters, and the buffers."""
    default = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)  # labels become numbers of this type
    try:
        return _run(case, g, convert)
    finally:
        torch.set_default_dtype(default)


def _run(case: ModelCase, g: Data, convert: Any) -> Result:
    torch.manual_seed(3)
    module = case.build().train(case.training)
    for parameter in module.parameters():  # some start at zero, where nothing could differ
        with torch.no_grad():
            parameter.add_(0.1 * torch.rand_like(parameter))
    convert(module)
    for name in (*NODE_LEAVES, *EDGE_LEAVES):
        g[name] = g[name].detach().clone().requires_grad_()
    out = case.call(module, g)
    result = out.detach().clone()  # GroupAddRev frees its output in backward
    if out.requires_grad:
        loss_of(case, out).backward()
    parameters = {name: torch.zeros_like(p) if p.grad is None else p.grad for name, p in module.named_parameters()}
    leaves = {name: g[name].grad for name in (*NODE_LEAVES, *EDGE_LEAVES)}
    return Result(result, leaves, parameters, dict(module.named_buffers()))


def loss_of(case: ModelCase, out: torch.Tensor) -> torch.Tensor:
    """A random linear function of all rows."""
    if case.rows == LOSS:
        return out
    probe = torch.randn(*map(int, out.shape), generator=torch.Generator().manual_seed(4)).double()
    return (out * probe).sum()


RANKS = [(4,), (1, 2)]
"""On how many ranks a configuration runs, in turn: each on several."""


def on_a_rank(world: fg.World, folder: str, name: str, numbers: list[int]) -> list[Any]:
    answers: list[Any] = []
    for case in [CASES[name][number] for number in numbers]:
        data = fg.open(f"{folder}/awkward.fg", world, prefetch=0, round_rows=16, chunk_edges=80)
        try:
            answers.append(gathered(run(case, data, lambda module, data=data: fg.prepare(module, data))))
        except fg.errors.UnsupportedOperation as refused:
            answers.append(str(refused))
    return answers


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("graphs")
    fg.partition(GRAPHS["awkward"](), folder / "awkward.fg", num_parts=4)
    return str(folder)


@pytest.mark.parametrize(("place", "name"), list(enumerate(CASES)), ids=list(CASES))
def test_model_equals_plain_pyg(folder, in_turn, place, name):
    wanted = [run(case, GRAPHS["awkward"](), lambda module: module) for case in CASES[name]]
    for num_ranks in (1, 2, 4):
        numbers = [number for number in range(len(wanted)) if num_ranks in in_turn(place + number, RANKS)]
        for number, *ranks in zip(numbers, *run_ranks(num_ranks, on_a_rank, folder, name, numbers), strict=True):
            what = f"{name}, {CASES[name][number].name}, {num_ranks} ranks"
            assert not any(isinstance(answer, str) for answer in ranks), (what, ranks)
            assert_same(what, ranks, wanted[number])


def test_no_exported_model_is_missing():
    assert set(models.__all__) == {*CASES, *REFUSED, *FUNCTIONS}
    assert not set(CASES) & set(REFUSED)

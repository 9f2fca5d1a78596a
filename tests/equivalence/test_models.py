"""Every class of ``torch_geometric.nn.models`` is exact on any number of ranks, or refused, or no model of a graph."""

from typing import Any

import pytest
import torch
from torch_geometric.data import Data
from torch_geometric.nn import models

import fullgraph as fg
from fullgraph.errors import UnsupportedLayer
from tests.equivalence.cases import EDGE_LEAVES, GRAPHS, NODE_LEAVES
from tests.equivalence.graphs import NUM_NODES
from tests.equivalence.models import CASES, EDGES, FUNCTIONS, LOSS, NODES, REFUSED, ModelCase
from tests.equivalence.models import GRAPHS as GRAPH_ROWS
from tests.ranks import run_ranks

CLOSE: dict[str, Any] = {"rtol": 1e-9, "atol": 1e-9}


def run(case: ModelCase, g: Data, convert: Any, num_ranks: int = 1):
    """The result, the gradients of the graph's arrays and of the parameters, and the buffers."""
    default = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)  # labels become numbers of this type
    try:
        return _run(case, g, convert, num_ranks)
    finally:
        torch.set_default_dtype(default)


def _run(case: ModelCase, g: Data, convert: Any, num_ranks: int):
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
        loss_of(case, out, g, num_ranks).backward()
    parameters = {name: torch.zeros_like(p) if p.grad is None else p.grad for name, p in module.named_parameters()}
    leaves = {name: g[name].grad for name in (*NODE_LEAVES, *EDGE_LEAVES)}
    return result, leaves, parameters, dict(module.named_buffers())


def loss_of(case: ModelCase, out: torch.Tensor, g: Data, num_ranks: int) -> torch.Tensor:
    """A random linear function of all rows; each rank has its share of it."""
    if case.rows == LOSS:
        return out
    probe = torch.randn(500, *out.shape[1:], generator=torch.Generator().manual_seed(4)).double()
    if case.rows == EDGES:
        return (out * probe[g.edge_ids]).sum()
    if case.rows == GRAPH_ROWS:
        return (out * probe[: len(out)]).sum() / num_ranks
    return (out * probe[g.node_ids if "node_ids" in g else slice(NUM_NODES)]).sum()


def on_a_rank(world: fg.World, folder: str, name: str):
    answers = []
    for case in CASES[name]:
        data = fg.open(f"{folder}/awkward.fg", world, prefetch=0, round_rows=16, chunk_edges=80)
        out, leaves, parameters, buffers = run(
            case, data, lambda module, data=data: fg.convert(module, data), world.num_ranks
        )
        nodes = {key: None if leaves[key] is None else fg.gather_rows(leaves[key], data) for key in NODE_LEAVES}
        whole = fg.gather_rows(out, data) if case.rows == NODES else out
        parameters = {key: world.all_reduce(grad.clone()) for key, grad in parameters.items()}
        edges = {key: leaves[key] for key in EDGE_LEAVES}
        answers.append((whole, nodes, parameters, buffers, data.edge_ids, edges))
    return answers


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("graphs")
    fg.partition(GRAPHS["awkward"](), folder / "awkward.fg", num_parts=4)
    return str(folder)


def joined(ids: list[torch.Tensor], shares: list[Any]) -> Any:
    """Rows of edges in the original order; None if there are none."""
    if any(share is None for share in shares):
        return None
    return torch.cat(shares)[torch.argsort(torch.cat(ids))]


@pytest.mark.parametrize("name", CASES)
def test_model_equals_plain_pyg(folder, name):
    wanted = [run(case, GRAPHS["awkward"](), lambda module: module) for case in CASES[name]]
    for num_ranks in (1, 2, 4):
        answers = run_ranks(num_ranks, on_a_rank, folder, name)
        for number, case in enumerate(CASES[name]):
            what = f"{name}, {case.name}, {num_ranks} ranks"
            out, leaves, parameters, buffers = wanted[number]
            ranks = [answer[number] for answer in answers]
            whole, nodes, got_parameters, got_buffers, *_ = ranks[0]
            ids = [rank[4] for rank in ranks]
            if case.rows == EDGES:
                whole = joined(ids, [rank[0] for rank in ranks])
            elif case.rows != NODES:
                for rank in ranks:
                    torch.testing.assert_close(rank[0], out, **CLOSE)
            edges = {key: joined(ids, [rank[5][key] for rank in ranks]) for key in EDGE_LEAVES}
            for of, got, want in (
                ("result", whole, out),
                ("rows", nodes, {key: leaves[key] for key in NODE_LEAVES}),
                ("edges", edges, {key: leaves[key] for key in EDGE_LEAVES}),
                ("parameters", got_parameters, parameters),
                ("buffers", got_buffers, buffers),
            ):
                torch.testing.assert_close(
                    got, want, **CLOSE, msg=lambda text, of=of, what=what: f"{what}: {of}: {text}"
                )


@pytest.mark.parametrize("name", REFUSED)
def test_refused_by_name_with_the_reason(folder, name):
    build, reason = REFUSED[name]
    model = torch.nn.ModuleDict({"inner": build()})
    with pytest.raises(UnsupportedLayer, match=rf"inner \({name}\): {reason}"):
        fg.convert(model, fg.open(f"{folder}/awkward.fg"))


def test_no_exported_model_is_missing():
    assert set(models.__all__) == {*CASES, *REFUSED, *FUNCTIONS}
    assert not set(CASES) & set(REFUSED)

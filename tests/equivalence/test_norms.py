"""The law for norms: on uneven parts, in training twice and then in evaluation, with running statistics."""

from typing import Any

import pytest
import torch
from torch_geometric.data import Data
from torch_geometric.nn import norm

import fullgraph as fg
from fullgraph.datasets.convert_pyg import graph_from_pyg
from fullgraph.graph.writer import write_partitioned
from tests.equivalence import own_layers
from tests.equivalence.cases import Case
from tests.equivalence.graphs import NUM_FEATURES, NUM_NODES, awkward_graph
from tests.equivalence.norms import CASES
from tests.ranks import run_ranks

FEW = 2  # rows of the first part


def graph() -> Data:
    """Far from zero, where a variance from squares would lose digits; three graphs, of which a part may have none."""
    g = awkward_graph(3)
    g.x = g.x + 100
    g.graph_ids = torch.arange(NUM_NODES) % 5 % 3
    return g


def steps(case: Case, g: Data, convert: Any):
    """Outputs, gradients and buffers of two steps in training and one in evaluation."""
    torch.manual_seed(3)
    module = case.build().double()
    for parameter in module.parameters():
        torch.nn.init.uniform_(parameter, 0.5, 1.5)
    convert(module)
    x, outs, grads = g.x, [], []
    for step, training in enumerate((True, True, False)):
        g.x = (x * (step + 1)).requires_grad_()
        out = case.call(module.train(training), g)
        probe = torch.randn(NUM_NODES, NUM_FEATURES, generator=torch.Generator().manual_seed(step)).double()
        ((out + out.square()) * probe).sum().backward()
        outs.append(out.detach())
        grads.append(g.x.grad)
        for buffer in module.buffers():  # with several graphs, PyG's InstanceNorm ties them to this step's rows
            buffer.detach_()
    parameters = {name: p.grad for name, p in module.named_parameters() if p.grad is not None}
    return outs, grads, parameters, dict(module.named_buffers())


RANKS = [(4,), (1, 3), (2,)]
"""On how many ranks a configuration runs, in turn: each on several."""


def on_a_rank(world: fg.World, path: str, name: str, numbers: list[int]):
    answers = []
    for case in [CASES[name][number] for number in numbers]:
        data = fg.open(path, world)
        outs, grads, parameters, buffers = steps(case, data, lambda module, data=data: fg.prepare(module, data))
        answers.append(([fg.gather(t) for t in outs], [fg.gather(t) for t in grads], parameters, buffers))
    return answers


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    path = tmp_path_factory.mktemp("graphs") / "uneven.fg"
    part_of_node = torch.arange(NUM_NODES).roll(11).ge(FEW).int() + torch.arange(NUM_NODES).roll(11).ge(40)
    part_of_node += torch.arange(NUM_NODES).roll(11).ge(60)
    write_partitioned(
        graph_from_pyg(graph()), {"node": part_of_node.numpy()}, path, num_parts=4, method="random", seed=0
    )
    return str(path)


@pytest.mark.parametrize(("place", "name"), list(enumerate(CASES)), ids=list(CASES))
def test_norm_equals_plain_pyg(path, in_turn, place, name):
    wanted = [steps(case, graph(), lambda module: module) for case in CASES[name]]
    for num_ranks in (1, 2, 3, 4):
        numbers = [number for number in range(len(wanted)) if num_ranks in in_turn(place + number, RANKS)]
        for number, *answers in zip(numbers, *run_ranks(num_ranks, on_a_rank, path, name, numbers), strict=True):
            case, want = CASES[name][number], wanted[number]
            torch.testing.assert_close(
                answers[0], want, rtol=1e-9, atol=1e-9, msg=lambda text, case=case: f"{case.name}: {text}"
            )
            for answer in answers:
                torch.testing.assert_close(answer[3], want[3], rtol=1e-9, atol=1e-9)


def test_no_exported_norm_is_missing():
    assert set(norm.__all__) == set(CASES)


def within_a_message(world: fg.World | None, g: Data):
    torch.manual_seed(0)
    module = own_layers.EdgeMLP(NUM_FEATURES, 4).double()
    module.nn.insert(1, norm.GraphNorm(10).double())
    if world is not None:
        fg.prepare(module, g)
    out = module(g.x, g.edge_index)
    out.square().sum().backward()
    return fg.gather(out.detach()), {key: p.grad for key, p in module.named_parameters()}


def within_a_message_on_a_rank(world: fg.World, path: str):
    return within_a_message(world, fg.open(path, world, chunk_edges=20))


def test_a_norm_within_a_message_reads_the_edges_of_all_ranks(path):
    wanted = within_a_message(None, graph())
    for got in run_ranks(3, within_a_message_on_a_rank, path):
        torch.testing.assert_close(got, wanted, rtol=1e-9, atol=1e-7)

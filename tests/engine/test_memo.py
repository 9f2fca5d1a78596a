"""What never changes is summed once, what changes even on one rank is summed again, and nothing outlives its input."""

import gc
import weakref

import pytest
import torch
import torch.nn.functional as F
from torch_geometric import nn as pyg
from torch_geometric.nn import models

import fullgraph as fg
from fullgraph.config import MODES
from fullgraph.engine import extremum_neighbours, sum_neighbours
from fullgraph.rows import local
from tests.equivalence.graphs import NUM_CLASSES, NUM_FEATURES, awkward_graph
from tests.ranks import run_ranks


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    path = tmp_path_factory.mktemp("graphs") / "graph.fg"
    fg.partition(awkward_graph(), path, num_parts=3)
    return str(path)


def opened(path):
    """On one rank: the plan, the rows of x and the edges' weights, as the engine has them."""
    data = fg.open(path)
    return data.edge_index.walked.plan, local(data.x), local(data.edge_weight)


def results(plan) -> list[torch.Tensor]:
    return [entry.result for entry in plan.memo._entries.values() if entry.result is not None]


AGGREGATIONS = {
    "sum": lambda x, plan: sum_neighbours(x, plan),
    "mean": lambda x, plan: sum_neighbours(x, plan, reduction="mean"),
    "max": lambda x, plan: extremum_neighbours(x, plan, largest=True),
}


@pytest.mark.parametrize("name", AGGREGATIONS)
def test_the_same_rows_give_the_same_tensor_and_changed_rows_another(path, name):
    plan, x, _ = opened(path)
    aggregate = AGGREGATIONS[name]
    first = aggregate(x, plan)
    assert aggregate(x, plan) is first
    assert aggregate(x.movedim(-2, 0), plan) is first, "layers make views of their input in every call"
    assert aggregate(x[:, 1:], plan) is not first
    assert aggregate(x[:, 1:], plan) is aggregate(x[:, 1:], plan)
    assert not torch.equal(aggregate(x[:, :2], plan), aggregate(x[:, 2:4], plan)), "elsewhere in the same memory"
    x[0] += 1
    changed = aggregate(x, plan)
    assert changed is not first
    torch.testing.assert_close(changed, aggregate(x.clone(), plan))


def test_weights_count_too(path):
    plan, x, weight = opened(path)
    first = sum_neighbours(x, plan, weight)
    assert sum_neighbours(x, plan, weight) is first
    assert not torch.equal(sum_neighbours(x, plan), first)
    weight *= 2
    torch.testing.assert_close(sum_neighbours(x, plan, weight), 2 * first)


def test_nothing_outlives_its_input(path):
    plan, x, _ = opened(path)
    x = x.clone()
    result = weakref.ref(sum_neighbours(x, plan))
    of_view = weakref.ref(sum_neighbours(x[:, :2], plan))
    assert result() is not None
    assert of_view() is not None
    x += 1
    sum_neighbours(x, plan)
    assert result() is None, "what was remembered of an earlier version can never be asked for again"
    del x
    gc.collect()
    assert of_view() is None
    assert not plan.memo._entries


def test_rows_that_need_a_gradient_are_never_remembered(path):
    plan, x, _ = opened(path)
    constant = sum_neighbours(x, plan)
    x.requires_grad_()
    out = sum_neighbours(x, plan)
    assert out is not constant
    out.sum().backward()
    assert x.grad is not None
    with torch.inference_mode():
        torch.testing.assert_close(sum_neighbours(x * 1, plan), constant)


def test_a_result_changed_in_place_is_formed_again(path):
    plan, x, _ = opened(path)
    wanted = sum_neighbours(x, plan).clone()
    sum_neighbours(x, plan).mul_(3)
    torch.testing.assert_close(sum_neighbours(x, plan), wanted)


@pytest.mark.parametrize("layer", [pyg.SimpleConv(), pyg.LGConv(), pyg.SimpleConv(aggr="max")])
def test_outputs_of_layers_are_the_callers_own(path, layer):
    data = fg.open(path)
    fg.prepare(layer, data)
    first, second = layer(data.x, data.edge_index), layer(data.x, data.edge_index)
    wanted = first.clone()
    first.add_(1)
    torch.testing.assert_close(second, wanted)
    torch.testing.assert_close(layer(data.x, data.edge_index), wanted)


def test_evaluation_keeps_no_hidden_results(path):
    data = fg.open(path)
    model = fg.prepare(models.GraphSAGE(NUM_FEATURES, 8, 3, NUM_CLASSES).double().eval(), data)
    plan = data.edge_index.walked.plan
    with torch.no_grad():
        outs = [model(data.x, data.edge_index) for _ in range(3)]
    assert torch.equal(outs[0], outs[2])
    (remembered,) = results(plan)
    assert remembered.shape[1] == NUM_FEATURES
    assert len(plan.memo._entries) == 1


def test_evaluation_remembers_what_came_before(path):
    plan, x, _ = opened(path)
    hidden = x.clone()
    with torch.no_grad():
        first = sum_neighbours(hidden, plan)
        assert results(plan) == []
        second = sum_neighbours(hidden, plan)
        assert second is not first
        assert sum_neighbours(hidden, plan) is second


def outputs_while_rank_1_changes(world: fg.World, path: str, mode: str):
    data = fg.open(path, world, mode=mode)
    torch.manual_seed(0)
    model = fg.prepare(models.GCN(NUM_FEATURES, 8, 2, NUM_CLASSES).double(), data)
    outs = []
    for _ in range(2):
        outs += [fg.gather(model(data.x, data.edge_index).detach()) for _ in range(2)]
        if world.rank == 1:
            local(data.x).zero_()
    return outs, fg.gather(data.x)


@pytest.mark.parametrize("mode", MODES)
def test_all_ranks_sum_again_when_one_of_them_changes_its_rows(path, mode):
    outs, changed = run_ranks(3, outputs_while_rank_1_changes, path, mode)[0]
    graph = awkward_graph()
    torch.manual_seed(0)
    model = models.GCN(NUM_FEATURES, 8, 2, NUM_CLASSES).double()
    for got in outs[:2]:
        torch.testing.assert_close(got, model(graph.x, graph.edge_index), rtol=1e-10, atol=1e-10)
    assert not torch.equal(changed, graph.x)
    graph.x = changed
    for got in outs[2:]:
        torch.testing.assert_close(got, model(graph.x, graph.edge_index), rtol=1e-10, atol=1e-10)


def rows_sent(world: fg.World, path: str, width: int, dropout: float, held_mib: int = 64):
    data = fg.open(path, world, held_mib=held_mib)
    data.x = data.x.repeat(1, width)
    model = fg.prepare(pyg.GCNConv(data.x.shape[1], NUM_CLASSES, normalize=False).double(), data)
    optimizer = torch.optim.SGD(model.parameters())
    sent = []
    for _ in range(4):
        before = world.traffic.rows_bytes
        F.cross_entropy(model(F.dropout(data.x, dropout), data.edge_index), data.y).backward()
        optimizer.step()
        sent.append((world.traffic.rows_bytes - before) / 8)
    plan = data.edge_index.walked.plan
    summing = plan.sum_walks(weighted=False)
    return sent, summing.forward.routes.num_sent, summing.backward.routes.num_sent


@pytest.mark.parametrize("width", [1, 2])
def test_constant_rows_travel_at_most_twice_and_changing_rows_as_narrow_as_they_can(path, width):
    for sent, rows, reverse in run_ranks(3, rows_sent, path, width, 0.0):
        wide = rows * NUM_FEATURES * width
        narrow = (rows + reverse) * NUM_CLASSES
        assert sent == ([wide, 0, 0, 0] if width == 1 else [narrow, wide, 0, 0])
    for sent, rows, reverse in run_ranks(3, rows_sent, path, width, 0.0, 0):
        wide, narrow = rows * NUM_FEATURES * width, (rows + reverse) * NUM_CLASSES
        assert sent == ([wide, 0, 0, 0] if width == 1 else [narrow] * 4), "without room for the sum of wide rows"
    for sent, rows, reverse in run_ranks(3, rows_sent, path, width, 0.5):
        wide, narrow = rows * NUM_FEATURES * width, (rows + reverse) * NUM_CLASSES
        assert sent == [wide if width == 1 else narrow] * 4

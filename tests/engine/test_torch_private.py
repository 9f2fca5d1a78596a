"""This version of torch tells what it promises nobody to tell, and nothing is computed otherwise if it does not."""

from typing import Any

import pytest
import torch
from torch_geometric.nn import models

import fullgraph as fg
from fullgraph.engine.backward import ownership, torch_private
from tests.equivalence.graphs import NUM_CLASSES, NUM_FEATURES, awkward_graph
from tests.ranks import run_ranks

PRIVATE = [
    (torch._C._autograd, "_top_saved_tensors_default_hooks"),
    (torch._C._autograd, "_get_current_graph_task_keep_graph"),
    (torch._C, "_storage_Use_Count"),
]


def test_who_saves():
    assert not torch_private.are_saved_tensors_hooked()
    with torch.autograd.graph.save_on_cpu():
        assert torch_private.are_saved_tensors_hooked()


def test_what_is_saved():
    x = torch.ones(3, requires_grad=True)
    ((raw, tensor),) = torch_private.saved_by(x.exp().grad_fn)
    assert torch.equal(tensor, torch.ones(3).exp())
    raw.register_hooks(lambda x: x, lambda x: x)
    assert torch_private.saved_by((x + 1).grad_fn) == []


def test_whether_backward_may_run_again():
    x, found = torch.ones(3, requires_grad=True), []
    y = x.exp().sum()
    y.register_hook(lambda _: found.append(torch_private.may_backward_run_again()))
    y.backward(retain_graph=True)
    y.backward()
    assert found == [True, False]


def answers(world: fg.World, path: str, tells: bool) -> list[torch.Tensor]:
    data = fg.open(path, world, recompute="layer")
    torch.manual_seed(0)
    model = models.GAT(NUM_FEATURES, 12, 3, NUM_CLASSES, heads=3, norm="batch", concat=False).double()
    model = fg.prepare(model, data)
    with pytest.MonkeyPatch.context() as patch:
        for where, name in [] if tells else PRIVATE:
            patch.delattr(where, name)
        ownership.sole_references.cache_clear()
        out = model(data.x, data.edge_index)
        (out * data.probe).sum().backward()
    ownership.sole_references.cache_clear()
    return [fg.gather(out.detach()), *(p.grad for p in model.parameters())]


def test_what_is_not_told_changes_nothing(tmp_path: Any):
    fg.partition(awkward_graph(), tmp_path / "graph", num_parts=2)
    told, untold = (run_ranks(2, answers, str(tmp_path / "graph"), tells) for tells in (True, False))
    for rank in range(2):
        for a, b in zip(told[rank], untold[rank], strict=True):
            torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-12)

"""PyG's models write a ReLU and dropout where a batch norm's output is, where nobody can see that."""

from functools import partial

import pytest
import torch
import torch.nn.functional as F
from torch.utils.checkpoint import checkpoint
from torch_geometric.nn import models

import fullgraph as fg
from fullgraph.rows import local
from tests.equivalence.graphs import NUM_CLASSES, NUM_FEATURES, awkward_graph

SHAPE = (NUM_FEATURES, 12, 3, NUM_CLASSES)


@pytest.fixture(scope="module")
def data():
    return fg.open(awkward_graph())


def overwrites(model: torch.nn.Module, data, monkeypatch) -> list[tuple[bool, bool]]:
    """For each call of the activation and of dropout, whether its result is where its argument was."""
    found = []
    for module in (model.act, model.dropout):

        def forward(*args, call=module.forward, found=found):
            out = call(*args)
            found.append(local(out).data_ptr() == local(args[0]).data_ptr())
            return out

        monkeypatch.setattr(module, "forward", forward)
    model(data.x, data.edge_index).sum().backward()
    return list(zip(found[::2], found[1::2], strict=True))


def converted(data, model: torch.nn.Module) -> torch.nn.Module:
    return fg.prepare(model.double(), data)


def pna(*shape, **settings) -> models.PNA:
    return models.PNA(*shape, aggregators=["mean"], scalers=["identity"], deg=torch.tensor([0, 1]), **settings)


@pytest.mark.parametrize("build", [models.GCN, models.GraphSAGE, models.GAT, pna])
def test_a_relu_after_a_batch_norm_and_dropout_after_it_overwrite(data, monkeypatch, build):
    model = converted(data, build(*SHAPE, norm="batch_norm", dropout=0.5))
    assert overwrites(model, data, monkeypatch) == [(True, True)] * 2
    assert not model.act.inplace
    assert not model.dropout.inplace


OTHERS = {
    "another activation": {"act": "elu", "norm": "batch_norm"},
    "activation first": {"act_first": True, "norm": "batch_norm"},
    "no norm": {},
    "another norm": {"norm": "layer_norm"},
}


@pytest.mark.parametrize("name", OTHERS)
def test_otherwise_they_do_not(data, monkeypatch, name):
    model = converted(data, models.GraphSAGE(*SHAPE, dropout=0.5, **OTHERS[name]))
    assert overwrites(model, data, monkeypatch) == [(False, False)] * 2


def test_what_hooks_see_stays_what_it_was(data):
    seen = []

    def see(module, args, out) -> None:
        seen.append((out, out.clone()))

    for place in ("norms.0", "norms.1.module", "act"):
        model = converted(data, models.GraphSAGE(*SHAPE, norm="batch_norm", dropout=0.5))
        model.get_submodule(place).register_forward_hook(see)
        model(data.x, data.edge_index).sum().backward()
    with torch.nn.modules.module.register_module_forward_hook(lambda module, args, out: see(module, args, out)):
        model(data.x, data.edge_index)
    assert len(seen) > 4
    assert all(torch.equal(local(out), local(copied)) for out, copied in seen)


@pytest.mark.parametrize("name", ["act", "dropout"])
def test_what_layers_use_too_does_not_overwrite(data, monkeypatch, name):
    model = models.GraphSAGE(*SHAPE, norm="batch_norm", dropout=0.5)
    model.convs[1].shared = getattr(model, name)
    assert overwrites(converted(data, model), data, monkeypatch) == [(False, False)] * 2


def test_a_users_own_forward_is_not_presumed_upon(data):
    class Own(models.GraphSAGE):
        def forward(self, x, edge_index):
            normed = self.norms[0](self.convs[0](x, edge_index))
            self.normed = normed
            return self.act(normed) - normed

    model = converted(data, Own(*SHAPE, norm="batch_norm"))
    out = model(data.x, data.edge_index)
    torch.testing.assert_close(fg.gather(out), fg.gather((-model.normed).relu()))


def test_after_an_error_modules_are_what_they_were(data):
    model = converted(data, models.GraphSAGE(*SHAPE, norm="batch_norm", dropout=0.5))
    with pytest.raises(RuntimeError):
        model(data.x[:, :2], data.edge_index)
    assert not model.act.inplace
    assert not model.dropout.inplace


HOW = {
    "nothing made again": ({"recompute": "none"}, lambda model: model),
    "frozen norms": ({}, lambda model: model.norms.eval() and model),
    "checkpointed": ({}, lambda model: partial(checkpoint, model, use_reentrant=False)),
}


@pytest.mark.parametrize("name", HOW)
def test_a_relu_that_needs_its_result_is_not_overwritten(name):
    settings, how = HOW[name]
    found = []
    for options in (settings, {"recompute": "none"}):
        opened = fg.open(awkward_graph(), **options)
        torch.manual_seed(0)
        model = models.GraphSAGE(*SHAPE, norm="batch_norm", dropout=0.5).double()
        model.act = model.act if options is settings else Relu()  # which is no torch.nn.ReLU: nothing overwrites
        call = how(converted(opened, model))
        call(opened.x, opened.edge_index).square().sum().backward()
        found.append([p.grad for p in model.parameters()])
    torch.testing.assert_close(*found, rtol=1e-10, atol=1e-10)


class Relu(torch.nn.Module):
    def forward(self, x):
        return F.relu(x)


def test_dropout_in_place_is_the_mask_of_dropout(data):
    found = []
    for inplace in (True, False):
        torch.manual_seed(1)
        start = data.x.clone().requires_grad_()
        rows = start * 1
        out = F.dropout(rows, 0.5, inplace=inplace)
        assert (out is rows) == inplace
        (out * out.detach()).sum().backward()
        found.append((fg.gather(out.detach()), fg.gather(start.grad)))
    torch.testing.assert_close(*found, rtol=0, atol=0)

"""PyG's models write a ReLU and dropout where a batch norm's output is, where nobody can see that."""

import pytest
import torch
from torch_geometric.nn import models

import fullgraph as fg
from tests.equivalence.graphs import NUM_CLASSES, NUM_FEATURES, awkward_graph

SHAPE = (NUM_FEATURES, 12, 3, NUM_CLASSES)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    path = tmp_path_factory.mktemp("graphs") / "graph.fg"
    fg.partition(awkward_graph(), path, num_parts=1)
    return fg.open(path)


def overwrites(model: torch.nn.Module, data, monkeypatch) -> list[tuple[bool, bool]]:
    """For each call of the activation and of dropout, whether its result is where its argument was."""
    found = []
    for module in (model.act, model.dropout):

        def forward(*args, call=module.forward, found=found):
            out = call(*args)
            found.append(out.data_ptr() == args[0].data_ptr())
            return out

        monkeypatch.setattr(module, "forward", forward)
    model(data.x, data.edge_index).sum().backward()
    return list(zip(found[::2], found[1::2], strict=True))


def converted(data, model: torch.nn.Module) -> torch.nn.Module:
    return fg.convert(model.double(), data)


def pna(*shape, **settings) -> models.PNA:
    return models.PNA(*shape, aggregators=["mean"], scalers=["identity"], deg=torch.tensor([0, 1]), **settings)


@pytest.mark.parametrize("build", [models.GCN, models.GraphSAGE, models.GAT, pna])
def test_a_relu_after_a_batch_norm_and_dropout_after_it_overwrite(data, monkeypatch, build):
    model = converted(data, build(*SHAPE, norm="batch_norm", dropout=0.5))
    assert overwrites(model, data, monkeypatch) == [(True, True)] * 2
    assert not model.act.inplace
    assert not model.dropout.may_overwrite


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
    assert all(torch.equal(out, copied) for out, copied in seen if isinstance(out, torch.Tensor))


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
    torch.testing.assert_close(out, (-model.normed).relu())


def test_after_an_error_modules_are_what_they_were(data):
    model = converted(data, models.GraphSAGE(*SHAPE, norm="batch_norm", dropout=0.5))
    with pytest.raises(RuntimeError):
        model(data.x[:, :2], data.edge_index)
    assert not model.act.inplace
    assert not model.dropout.may_overwrite


def test_dropout_in_place_is_the_mask_of_dropout(data):
    x, modules = data.x.clone(), [fg.convert(torch.nn.Dropout(0.5, inplace=inplace), data) for inplace in (True, False)]
    out, wanted = (self_contained(module, data, x.clone()) for module in modules)
    for got, want in zip(out, wanted, strict=True):
        assert torch.equal(got, want)


def self_contained(module: torch.nn.Module, data, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The result of a converted module, and the gradient of its argument, from the first draw on."""
    data.edge_index.graph.randomness.load({"seed": 1, "step": 0, "call": 0})
    start = x.requires_grad_()
    rows = start * 1
    out = module(rows)
    assert (out is rows) == module.inplace
    (out * out.detach()).sum().backward()
    return out.detach(), start.grad

"""Edges that a model chooses anew in every forward are one index, with walks built once, until a mask changes."""

import gc
import weakref

import pytest
import torch
from torch_geometric import nn as pyg

import fullgraph as fg
from tests.equivalence.graphs import NUM_FEATURES, awkward_graph
from tests.ranks import run_ranks

CLOSE = {"rtol": 1e-9, "atol": 1e-10}
STEPS = 5
CHANGED_AT = 3


class TwoChoices(torch.nn.Module):
    """Chooses edges by two masks, columns of one tensor, in every forward."""

    def __init__(self) -> None:
        super().__init__()
        self.first = pyg.SAGEConv(NUM_FEATURES, 4)
        self.second = pyg.GCNConv(4, 3)

    def forward(self, x, edge_index, masks):
        hidden = self.first(x, edge_index[:, masks[:, 0]]).tanh()
        return self.second(hidden, edge_index[:, masks[:, 1]])


def masks_of(keys: torch.Tensor) -> torch.Tensor:
    return torch.stack([keys % 3 != 0, keys % 2 == 0], dim=1)


def changed_edge(keys: torch.Tensor) -> torch.Tensor:
    """One edge of the whole graph, which one rank alone has."""
    return keys == 5


def step(model, x, edge_index, masks):
    model.zero_grad()
    x = x.detach().clone().requires_grad_()
    out = model(x, edge_index, masks)
    out.square().sum().backward()
    return out.detach(), x.grad, [p.grad.clone() for p in model.parameters()]


def new_model() -> TwoChoices:
    torch.manual_seed(0)
    return TwoChoices().double()


def on_whole_graph():
    data, model = awkward_graph(), new_model()
    keys = torch.arange(data.num_edges)
    masks, results = masks_of(keys), []
    for number in range(STEPS):
        if number == CHANGED_AT:
            masks[changed_edge(keys)] ^= True
        results.append(step(model, data.x, data.edge_index, masks))
    return results


def on_a_rank(world: fg.World, path: str, mode: str):
    data = fg.open(path, world, mode=mode, round_rows=4)
    model = fg.convert(new_model(), data)
    keys = data.edge_index.edge_keys
    masks, results, told = masks_of(keys), [], []
    for number in range(STEPS):
        here = changed_edge(keys)
        if number == CHANGED_AT and here.any():
            masks[here] ^= True
        before = world.traffic.setup_bytes
        out, grad, grads = step(model, data.x, data.edge_index, masks)
        told.append(world.traffic.setup_bytes - before)
        rows = [fg.gather_rows(rows, data) for rows in (out, grad)]
        results.append((*rows, [world.all_reduce(grad) for grad in grads]))
    return results, told


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    path = tmp_path_factory.mktemp("graphs") / "graph.fg"
    fg.partition(awkward_graph(), path, num_parts=4)
    return str(path)


@pytest.mark.parametrize("mode", ["sar", "keep", "halo"])
@pytest.mark.parametrize("num_ranks", [1, 2, 4])
def test_walks_are_built_once_and_a_mask_changed_on_one_rank_is_noticed(path, mode, num_ranks):
    wanted = on_whole_graph()
    assert not torch.equal(wanted[CHANGED_AT][0], wanted[0][0])
    answers = run_ranks(num_ranks, on_a_rank, path, mode)
    for (out, grad, grads), (wanted_out, wanted_grad, wanted_grads) in zip(answers[0][0], wanted, strict=True):
        torch.testing.assert_close(out, wanted_out, **CLOSE)
        torch.testing.assert_close(grad, wanted_grad, **CLOSE)
        torch.testing.assert_close(grads, wanted_grads, **CLOSE)
    for _, told in answers:
        built = [number for number, count in enumerate(told) if count]
        assert built == ([0, CHANGED_AT] if num_ranks > 1 and mode != "halo" else []), (
            "which halo has nothing to tell for"
        )


def test_the_same_mask_gives_the_same_index_and_the_index_goes_with_the_mask(path):
    index = fg.open(path).edge_index
    mask = index.edge_keys % 2 == 0
    chosen = index[:, mask]
    assert index[:, mask] is chosen
    assert index.index_select(1, mask.nonzero()[:, 0]) is not chosen
    other = ~mask
    assert torch.equal(index[:, other].edge_keys, index.edge_keys[other])
    assert index[:, mask] is chosen, "another mask is remembered beside it"
    mask[:2] = ~mask[:2]
    assert torch.equal(index[:, mask].edge_keys, index.edge_keys[mask])
    assert index[:, mask] is not chosen
    gone = weakref.ref(index[:, mask])
    del mask
    gc.collect()
    assert gone() is None


def test_what_is_made_from_a_weight_is_made_anew_when_the_weight_changes(path):
    data = fg.open(path)
    layer = fg.convert(pyg.GCNConv(NUM_FEATURES, 2).double(), data)
    first = layer(data.x, data.edge_index, data.edge_weight)
    torch.testing.assert_close(layer(data.x, data.edge_index, data.edge_weight), first)
    data.edge_weight[::2] *= 3
    assert not torch.allclose(layer(data.x, data.edge_index, data.edge_weight), first)

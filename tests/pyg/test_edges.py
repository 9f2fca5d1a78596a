"""Edges that a model chooses anew in every forward have their walks built once; ids are held for who reads them."""

import gc
import shutil
import weakref
from pathlib import Path

import pytest
import torch
from torch_geometric import nn as pyg

import fullgraph as fg
from fullgraph.config import MODES
from fullgraph.errors import GraphFormatError
from tests.equivalence.cut import cut_once
from tests.equivalence.graphs import NUM_FEATURES, awkward_graph
from tests.ranks import run_ranks

STEPS, CHANGED_AT = 5, 3


class TwoChoices(torch.nn.Module):
    """Chooses edges by two masks, columns of one tensor, in every forward."""

    def __init__(self) -> None:
        super().__init__()
        self.first = pyg.SAGEConv(NUM_FEATURES, 4)
        self.second = pyg.GCNConv(4, 3)

    def forward(self, x, edge_index, masks):
        hidden = self.first(x, edge_index[:, masks[:, 0]]).tanh()
        return self.second(hidden, edge_index[:, masks[:, 1]])


def steps(data, model, sent):
    """Per step the output, all gradients, and how much was told of edges; a mask changes in between, at one edge."""
    places = torch.arange(data.num_edges)
    masks = torch.stack([places % 3 != 0, places % 2 == 0], dim=1)
    results, told = [], []
    for number in range(STEPS):
        if number == CHANGED_AT:
            masks[5] ^= True
        before = sent()
        model.zero_grad()
        x = data.x.detach().clone().requires_grad_()
        out = model(x, data.edge_index, masks)
        out.square().sum().backward()
        told.append(sent() - before)
        results.append([fg.gather(t) for t in (out.detach(), x.grad, *(p.grad.clone() for p in model.parameters()))])
    return results, told


def new_model() -> TwoChoices:
    torch.manual_seed(0)
    return TwoChoices().double()


def on_a_rank(world: fg.World, path: str, mode: str):
    data = fg.open(path, world, mode=mode, round_rows=16)
    return steps(data, fg.prepare(new_model(), data), lambda: world.traffic.setup_bytes)


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return cut_once(tmp_path_factory.mktemp("graphs"), awkward_graph())("metis", 4)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("num_ranks", [1, 2, 4])
def test_walks_are_built_once_and_a_changed_mask_is_noticed(path, mode, num_ranks):
    wanted, _ = steps(awkward_graph(), new_model(), lambda: 0)
    assert not torch.equal(wanted[CHANGED_AT][0], wanted[0][0])
    for results, told in run_ranks(num_ranks, on_a_rank, path, mode):
        torch.testing.assert_close(results, wanted, rtol=1e-9, atol=1e-10)
        built = [number for number, count in enumerate(told) if count]
        assert built == ([0, CHANGED_AT] if num_ranks > 1 else [])


def test_equal_masks_give_the_same_edges():
    data = fg.open(awkward_graph())
    chosen = data.edge_index[:, data.edge_weight > 0.5].walked
    assert data.edge_index[:, data.edge_weight > 0.5].walked is chosen
    assert data.edge_index[:, data.edge_weight > 0.4].walked is not chosen


def test_what_is_made_from_a_weight_is_made_anew_when_the_weight_changes():
    data = fg.open(awkward_graph())
    layer = fg.prepare(pyg.GCNConv(NUM_FEATURES, 2).double(), data)
    first = fg.gather(layer(data.x, data.edge_index, data.edge_weight))
    torch.testing.assert_close(fg.gather(layer(data.x, data.edge_index, data.edge_weight)), first)
    data.edge_weight[::2] *= 3
    assert not torch.allclose(fg.gather(layer(data.x, data.edge_index, data.edge_weight)), first)


def tensors_held(*owners) -> list[str]:
    return [name for owner in owners for name, value in vars(owner).items() if isinstance(value, torch.Tensor)]


def held_by_edges(world: fg.World, path: str, layer: type, weighted: bool):
    """What edges hold after a step beside their walks, and whether the walks know where values lie."""
    data = fg.open(path, world)
    model = fg.prepare(layer(NUM_FEATURES, 4).double(), data)
    model(data.x, data.edge_index, *([data.edge_weight] if weighted else [])).sum().backward()
    edges = data.edge_index.walked
    walked = edges.with_self_loops if layer is pyg.GCNConv else edges
    held = tensors_held(edges, edges.space, walked, walked.space, *getattr(walked.space, "parts", ())[:1])
    summing = walked.plan.sum_walks(weighted=weighted or layer is pyg.GCNConv)
    blocks = [summing.backward.local, *summing.forward.blocks, *summing.backward.blocks]
    return held, any(block is not None and block.edge_ids is not None for block in blocks)


@pytest.mark.parametrize("num_ranks", [1, 3])
def test_edges_hold_no_ids_that_nobody_reads(path, num_ranks):
    for layer, weighted in ((pyg.SAGEConv, False), (pyg.GraphConv, True), (pyg.GCNConv, False)):
        for held, knows_values in run_ranks(num_ranks, held_by_edges, path, layer, weighted):
            assert not held, layer
            assert knows_values == (layer is not pyg.SAGEConv), layer


def test_edges_hold_ids_that_a_program_has_read(path):
    data = fg.open(path)
    _ = data.x[data.edge_index[0]]
    edges = data.edge_index.walked
    assert "src" in vars(edges)
    assert "dst" not in vars(edges)


def test_edges_of_another_graph_that_was_written_in_its_place_are_not_read(path, tmp_path):
    copy = Path(shutil.copytree(path, tmp_path / "copy.fg"))
    data = fg.open(copy)
    (file,) = (copy / "part-00001").rglob("src.npy")
    file.write_bytes(file.read_bytes())
    with pytest.raises(GraphFormatError, match=rf"^a file of the graph was changed while .*: {file}$"):
        fg.prepare(pyg.SAGEConv(NUM_FEATURES, 4).double(), data)


def test_edges_that_were_derived_go_with_their_graph(path):
    gc.collect()
    gc.disable()  # so that what is gone went without it
    try:
        data = fg.open(path)
        chosen = data.edge_index[:, data.edge_weight > 0.5].walked
        walked = [weakref.ref(each) for each in (chosen, chosen.without_self_loops, chosen.with_self_loops)]
        _ = chosen.with_self_loops.plan.sum_walks(weighted=True).forward
        del chosen, data
        assert [each() for each in walked] == [None] * 3
    finally:
        gc.enable()

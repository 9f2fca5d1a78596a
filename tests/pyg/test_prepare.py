"""A prepared model is the user's own: same object, keys and repr; copies stay on the graph, pickles leave it."""

import copy
import io
import pickle

import pytest
import torch
import torch.nn.functional as F
from torch_geometric import nn as pyg
from torch_geometric.explain.algorithm.utils import clear_masks, set_masks
from torch_geometric.nn import models

import fullgraph as fg
from fullgraph.errors import GraphMismatch, InputError
from tests.equivalence.cut import cut_once
from tests.equivalence.graphs import NUM_CLASSES, NUM_FEATURES, awkward_graph
from tests.equivalence.hetero import CITES, awkward_hetero
from tests.ranks import run_ranks

CONVS = {
    "gcn": lambda: pyg.GCNConv(NUM_FEATURES, 4),
    "sage": lambda: pyg.SAGEConv(NUM_FEATURES, 4),
    "gin": lambda: pyg.GINConv(torch.nn.Linear(NUM_FEATURES, 4)),
    "gat": lambda: pyg.GATConv(NUM_FEATURES, 2, heads=2),
    "graph": lambda: pyg.GraphConv(NUM_FEATURES, 4),
}


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return cut_once(tmp_path_factory.mktemp("graphs"), awkward_graph())("metis", 4)


@pytest.fixture
def data(path):
    return fg.open(path)


def whole_model() -> torch.nn.Module:
    torch.manual_seed(0)
    model = models.GAT(NUM_FEATURES, 8, 2, NUM_CLASSES, heads=2, dropout=0.3, norm="batch_norm")
    return model.double()


def test_prepared_model_is_the_same_object_with_the_same_keys_and_repr(data):
    model = whole_model()
    keys, text, name = list(model.state_dict()), repr(model), type(model).__name__
    for _ in range(2):
        assert fg.prepare(model, data) is model
        assert (list(model.state_dict()), repr(model), type(model).__name__) == (keys, text, name)
        assert isinstance(model, models.GAT)
        assert isinstance(model.convs[0], pyg.GATConv)


@pytest.mark.parametrize("name", CONVS)
def test_prepared_layer_behaves_as_before_on_an_ordinary_index(data, name):
    torch.manual_seed(0)
    layer, plain = CONVS[name]().double(), awkward_graph()
    wanted = layer(plain.x, plain.edge_index)
    fg.prepare(layer, data)
    torch.testing.assert_close(layer(plain.x, plain.edge_index), wanted, rtol=0, atol=0)


@pytest.mark.parametrize("name", CONVS)
def test_prepare_builds_the_walks_rather_than_the_first_epoch(data, name):
    fg.prepare(CONVS[name](), data)
    edges = data.edge_index.walked.with_self_loops if name in ("gcn", "gat") else data.edge_index.walked
    walks = edges.plan if name == "gat" else edges.plan.sum_walks(weighted=name == "gcn")
    assert {"forward", "backward"} <= vars(walks).keys()


def test_a_copy_stays_on_the_graph_and_a_pickle_leaves_it(data):
    model = fg.prepare(whole_model(), data).eval()
    wanted = fg.gather(model(data.x, data.edge_index).detach())
    twin = copy.deepcopy(model)
    torch.testing.assert_close(fg.gather(twin(data.x, data.edge_index).detach()), wanted)
    assert type(twin) is type(model)
    assert twin.convs[0].lin.weight is not model.convs[0].lin.weight

    plain = awkward_graph()
    loaded = pickle.loads(pickle.dumps(model))
    assert type(loaded) is models.GAT
    assert type(loaded.convs[0]) is pyg.GATConv
    assert not [m for m in loaded.modules() if "fullgraph" in type(m).__module__]
    torch.testing.assert_close(loaded(plain.x, plain.edge_index).detach(), wanted)

    buffer = io.BytesIO()
    torch.save(model, buffer)
    buffer.seek(0)
    assert type(torch.load(buffer, weights_only=False)) is models.GAT


def test_attention_weights_can_be_asked_for(data):
    torch.manual_seed(0)
    layer, plain = pyg.GATConv(NUM_FEATURES, 2, heads=2).double(), awkward_graph()
    wanted = layer(plain.x, plain.edge_index, return_attention_weights=True)
    fg.prepare(layer, data)
    out, (index, weights) = layer(data.x, data.edge_index, return_attention_weights=True)
    torch.testing.assert_close((fg.gather(out), (fg.gather(index), fg.gather(weights))), wanted)


def test_hooks_on_messages_are_honoured(data):
    layer = fg.prepare(pyg.SAGEConv(NUM_FEATURES, 4).double(), data)
    walked = fg.gather(layer(data.x, data.edge_index))
    seen = []
    layer.register_message_forward_hook(lambda module, inputs, output: seen.append(tuple(output.shape)))
    torch.testing.assert_close(fg.gather(layer(data.x, data.edge_index)), walked)
    assert seen == [(awkward_graph().num_edges, NUM_FEATURES)]


@pytest.mark.parametrize("name", CONVS)
def test_hooks_of_all_modules_see_the_modules_within(data, name):
    layer, calls = CONVS[name]().double(), []
    with torch.nn.modules.module.register_module_forward_hook(lambda module, args, out: calls.append(type(module))):
        plain = awkward_graph()
        layer(plain.x, plain.edge_index)
        wanted = sorted(map(str, calls))
        fg.prepare(layer, data)
        calls.clear()
        layer(data.x, data.edge_index)
    assert sum("Linear" in str(call) for call in calls) == sum("Linear" in call for call in wanted) > 0


def test_a_layers_own_projection_may_be_any_module(data):
    torch.manual_seed(0)
    layer, plain = CONVS["gat"]().double(), awkward_graph()
    layer.lin, counts = torch.nn.Sequential(layer.lin, torch.nn.Tanh()), []
    wanted = layer(plain.x, plain.edge_index)
    fg.prepare(layer, data)
    layer.lin.register_forward_hook(lambda module, args, out: counts.append(len(args)))
    torch.testing.assert_close(fg.gather(layer(data.x, data.edge_index)), wanted)
    assert counts == [1], "what draws in it would draw twice"


@pytest.mark.parametrize("name", CONVS)
def test_what_pyg_explains_is_masked_as_pyg_masks_it(data, name):
    torch.manual_seed(0)
    plain, layer = awkward_graph(), CONVS[name]().double()
    mask = torch.linspace(-2, 2, plain.num_edges, dtype=torch.float64).requires_grad_()
    set_masks(layer, mask, plain.edge_index)
    wanted = layer(plain.x, plain.edge_index)
    of_mask = torch.autograd.grad(wanted.square().sum(), mask)[0]
    assert of_mask.any()
    clear_masks(layer)
    fg.prepare(layer, data)
    set_masks(layer, mask, data.edge_index)
    out = layer(data.x, data.edge_index)
    torch.testing.assert_close(fg.gather(out), wanted)
    torch.testing.assert_close(torch.autograd.grad(out.square().sum(), mask)[0], of_mask)


class Derived(pyg.GCNConv):
    def message(self, x_j, edge_weight):
        return 2 * super().message(x_j, edge_weight)


def test_a_derived_layer_keeps_its_own_code(data):
    torch.manual_seed(0)
    layer, plain = Derived(NUM_FEATURES, 4).double(), awkward_graph()
    wanted = layer(plain.x, plain.edge_index)
    fg.prepare(layer, data)
    torch.testing.assert_close(fg.gather(layer(data.x, data.edge_index)), wanted)


@pytest.mark.parametrize("plain", [awkward_graph(), awkward_hetero()])
def test_the_data_must_be_opened(plain):
    with pytest.raises(
        InputError, match=rf"^data must come from fullgraph.open, .* in memory: {type(plain).__name__}$"
    ):
        fg.prepare(pyg.HeteroConv({CITES: pyg.SAGEConv(6, 2)}), plain)


def different_models(world: fg.World, path: str):
    data = fg.open(path, world)
    try:
        fg.prepare(pyg.GCNConv(NUM_FEATURES, 3 + world.rank), data)
    except GraphMismatch as error:
        return str(error)


def test_ranks_with_different_models_are_told(path):
    first, second = run_ranks(2, different_models, path)
    assert first == second
    assert first.startswith("all ranks must use the same model; rank 0 has [('bias', (3,)")


def started_apart(world: fg.World, path: str):
    torch.manual_seed(world.rank)
    return fg.prepare(models.GCN(NUM_FEATURES, 5, 2, NUM_CLASSES, norm="batch_norm"), fg.open(path, world)).state_dict()


def test_all_ranks_start_from_rank_0(path):
    first, second = run_ranks(2, started_apart, path)
    assert all(torch.equal(first[key], second[key]) for key in first)


def of_parts(world: fg.World | None, graph):
    """A prepared encoder, called twice, below a head that is not prepared; and the encoder's penalty by itself."""
    data = graph if world is None else fg.open(graph, world)
    torch.manual_seed(0)
    encoder, head = models.GCN(NUM_FEATURES, 8, 2, 8).double(), torch.nn.Linear(8, NUM_CLASSES).double()
    unused = torch.nn.Parameter(torch.ones(2))
    encoder.register_parameter("unused", unused)
    if world is not None:
        fg.prepare(encoder, data)
    hidden = encoder(data.x, data.edge_index) + encoder(data.x.tanh(), data.edge_index)
    loss = F.cross_entropy(head(hidden), data.y) + sum(p.square().sum() for p in encoder.convs.parameters())
    loss.backward()
    assert unused.grad is None
    return [p.grad for p in (*encoder.convs.parameters(), *head.parameters())]


def test_gradients_are_whole_whatever_of_a_program_is_prepared(path):
    wanted = of_parts(None, awkward_graph())
    for num_ranks in (1, 3):
        for grads in run_ranks(num_ranks, of_parts, path):
            torch.testing.assert_close(grads, wanted, rtol=1e-10, atol=1e-12)


def test_checkpointed_layers_are_exact(data):
    torch.manual_seed(0)
    conv = fg.prepare(pyg.GATConv(NUM_FEATURES, 4, dropout=0.4).double(), data)
    x, found = data.x.requires_grad_(), []
    for recomputed in (False, True):
        torch.manual_seed(1)
        call = torch.utils.checkpoint.checkpoint if recomputed else lambda conv, *args, use_reentrant: conv(*args)
        out = call(conv, x, data.edge_index, use_reentrant=False)
        found.append(fg.gather(torch.autograd.grad(out.square().sum(), x)[0]))
    assert torch.equal(*found)

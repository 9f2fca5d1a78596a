"""A prepared model is the user's own: same object, keys and repr; copies stay on the graph, pickles leave it."""

import copy
import io
import pickle

import pytest
import torch
import torch.nn.functional as F
from torch_geometric import nn as pyg
from torch_geometric.nn import models

import fullgraph as fg
from fullgraph.errors import GraphMismatch, InputError, UnsupportedLayer, UnsupportedOperation
from tests.equivalence.graphs import NUM_CLASSES, NUM_FEATURES, awkward_graph
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
    path = tmp_path_factory.mktemp("graphs") / "graph.fg"
    fg.partition(awkward_graph(), path, num_parts=4)
    return str(path)


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
    prepared, optimizer = fg.prepare(model, torch.optim.Adam(model.parameters()), data)
    assert prepared is model
    assert isinstance(optimizer, torch.optim.Adam)
    assert (list(model.state_dict()), repr(model), type(model).__name__) == (keys, text, name)
    assert isinstance(model, models.GAT)
    assert isinstance(model.convs[0], pyg.GATConv)
    fg.convert(model, data)
    assert repr(model) == text


@pytest.mark.parametrize("name", CONVS)
def test_converted_layer_behaves_as_before_on_an_ordinary_index(data, name):
    torch.manual_seed(0)
    layer, plain = CONVS[name]().double(), awkward_graph()
    wanted = layer(plain.x, plain.edge_index)
    fg.convert(layer, data)
    torch.testing.assert_close(layer(plain.x, plain.edge_index), wanted, rtol=0, atol=0)


@pytest.mark.parametrize("name", CONVS)
def test_prepare_builds_the_walks_rather_than_the_first_epoch(path, name):
    data, layer = fg.open(path), CONVS[name]()
    fg.prepare(layer, torch.optim.SGD(layer.parameters()), data)
    index = data.edge_index.with_self_loops if name in ("gcn", "gat") else data.edge_index
    walks = index.plan if name == "gat" else index.plan.summing
    assert {"forward", "backward"} <= vars(walks).keys()


def test_a_copy_stays_on_the_graph_and_a_pickle_leaves_it(data):
    model = fg.convert(whole_model(), data).eval()
    wanted = model(data.x, data.edge_index)
    twin = copy.deepcopy(model)
    torch.testing.assert_close(twin(data.x, data.edge_index), wanted)
    assert type(twin) is type(model)
    assert twin.convs[0].lin.weight is not model.convs[0].lin.weight

    plain = awkward_graph()
    loaded = pickle.loads(pickle.dumps(model))
    assert type(loaded) is models.GAT
    assert type(loaded.convs[0]) is pyg.GATConv
    assert not [m for m in loaded.modules() if "fullgraph" in type(m).__module__]
    on_whole = loaded(plain.x, plain.edge_index)
    torch.testing.assert_close(on_whole[data.node_ids], wanted)

    buffer = io.BytesIO()
    torch.save(model, buffer)
    buffer.seek(0)
    assert type(torch.load(buffer, weights_only=False)) is models.GAT


def test_attention_weights_can_be_asked_for(data):
    torch.manual_seed(0)
    layer, plain = pyg.GATConv(NUM_FEATURES, 2, heads=2).double(), awkward_graph()
    _, (_, wanted) = layer(plain.x, plain.edge_index, return_attention_weights=True)
    fg.convert(layer, data)
    out, (index, weights) = layer(data.x, data.edge_index, return_attention_weights=True)
    torch.testing.assert_close(out, layer(data.x, data.edge_index))
    assert weights.shape == wanted.shape == (index.size(1), 2)
    torch.testing.assert_close(weights.sum(0), wanted.sum(0))


def test_hooks_on_messages_are_honoured(data):
    layer = fg.convert(pyg.SAGEConv(NUM_FEATURES, 4).double(), data)
    walked = layer(data.x, data.edge_index)
    seen = []
    layer.register_message_forward_hook(lambda module, inputs, output: seen.append(output.shape))
    torch.testing.assert_close(layer(data.x, data.edge_index), walked)
    assert seen == [(awkward_graph().num_edges, NUM_FEATURES)]


class Derived(pyg.GCNConv):
    def message(self, x_j, edge_weight):
        return 2 * super().message(x_j, edge_weight)


def test_a_derived_layer_keeps_its_own_code(data):
    torch.manual_seed(0)
    layer, plain = Derived(NUM_FEATURES, 4).double(), awkward_graph()
    wanted = layer(plain.x, plain.edge_index)
    fg.convert(layer, data)
    torch.testing.assert_close(layer(data.x, data.edge_index), wanted[data.node_ids])


REFUSED = {
    "instance norm": (lambda: torch.nn.InstanceNorm1d(4), "1 (InstanceNorm1d): it normalises over all rows"),
    "lstm": (lambda: pyg.SAGEConv(4, 4, aggr="lstm"), "1.aggr_module (LSTMAggregation): its result depends on"),
    "chebyshev": (lambda: pyg.ChebConv(4, 4, 2, normalization=None), "1 (ChebConv): without normalization"),
    "sync": (lambda: torch.nn.SyncBatchNorm(4), "1 (SyncBatchNorm): it knows ranks by itself"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_layers_that_would_be_wrong_are_refused_before_training(data, name):
    build, reason = REFUSED[name]
    model = torch.nn.Sequential(torch.nn.Identity(), build())
    with pytest.raises(UnsupportedLayer) as raised:
        fg.prepare(model, None, data)
    assert str(raised.value).startswith("the model cannot give its exact result on a partitioned graph; replace what")
    assert reason in str(raised.value)


def test_row_wise_norm_and_supported_options_are_not_refused(data):
    fg.convert(torch.nn.Sequential(pyg.LayerNorm(4, mode="node"), pyg.ChebConv(4, 4, 2)), data)


def test_bad_arguments_of_prepare(data):
    plain = awkward_graph()
    with pytest.raises(InputError, match=r"^data must come from fullgraph.open, but its edge_index is a: Tensor$"):
        fg.prepare(whole_model(), None, plain)
    with pytest.raises(InputError, match=r"^give lazily initialised layers their input sizes, .*first: lin.weight"):
        fg.prepare(pyg.GCNConv(-1, 4), None, data)
    model = whole_model()
    _, optimizer = fg.prepare(model, torch.optim.SGD(model.parameters(), lr=0.1), data)
    with pytest.raises(InputError, match=r"^this optimizer was prepared already"):
        fg.prepare(model, optimizer, data)
    with pytest.raises(UnsupportedOperation, match=r"step\(\) without a closure: SGD$"):
        optimizer.step(lambda: 0.0)
    with pytest.raises(InputError, match=r"^prepare the optimizer with fullgraph.prepare first: SGD$"):
        fg.sum_gradients(torch.optim.SGD(model.parameters(), lr=0.1))


def different_models(world: fg.World, path: str):
    data = fg.open(path, world)
    try:
        fg.prepare(pyg.GCNConv(NUM_FEATURES, 3 + world.rank), None, data)
    except GraphMismatch as error:
        return str(error)


def test_ranks_with_different_models_are_told(path):
    first, second = run_ranks(2, different_models, path)
    assert first == second
    assert first.startswith("all ranks must use the same model; rank 0 has [('bias', (3,)")


def started_apart(world: fg.World, path: str):
    torch.manual_seed(world.rank)
    model = fg.prepare(models.GCN(NUM_FEATURES, 5, 2, NUM_CLASSES, norm="batch_norm"), None, fg.open(path, world))[0]
    return model.state_dict()


def test_all_ranks_start_from_rank_0(path):
    first, second = run_ranks(2, started_apart, path)
    assert all(torch.equal(first[key], second[key]) for key in first)


def clipped(world: fg.World, path: str):
    data = fg.open(path, world)
    torch.manual_seed(0)
    model = models.GCN(NUM_FEATURES, 5, 2, NUM_CLASSES).double()
    model, optimizer = fg.prepare(model, torch.optim.SGD(model.parameters(), lr=1.0), data)
    fg.mean_loss(F.cross_entropy, model(data.x, data.edge_index), data.y, data.train_mask, data).backward()
    fg.sum_gradients(optimizer)
    norm = torch.nn.utils.clip_grad_norm_(model.parameters(), 0.01)
    optimizer.step()
    return float(norm), model.state_dict()


def test_gradients_can_be_clipped_before_the_step(path):
    (norm, state), *_ = run_ranks(3, clipped, path)
    ((wanted_norm, wanted_state),) = run_ranks(1, clipped, path)
    assert norm == pytest.approx(wanted_norm, rel=1e-12)
    for key, value in wanted_state.items():
        torch.testing.assert_close(state[key], value)


@pytest.mark.parametrize("use_reentrant", [False, True])
def test_dropout_inside_a_checkpoint_is_refused(data, use_reentrant):
    class Checkpointed(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.dropout, self.linear = pyg.GCNConv(6, 4), torch.nn.Dropout(0.5), torch.nn.Linear(4, 4)

        def forward(self, x, edge_index):
            return torch.utils.checkpoint.checkpoint(
                lambda x: self.linear(self.dropout(self.conv(x, edge_index))), x, use_reentrant=use_reentrant
            )

    model, _ = fg.prepare(Checkpointed().double(), None, data)
    out = model(data.x.requires_grad_(), data.edge_index)
    with pytest.raises(UnsupportedOperation, match=r"^dropout was drawn again inside backward"):
        out.sum().backward()


def test_checkpointed_layers_without_dropout_are_exact(data):
    torch.manual_seed(0)
    conv = fg.convert(pyg.GATConv(NUM_FEATURES, 4).double(), data)
    x = data.x.requires_grad_()
    (wanted,) = torch.autograd.grad(conv(x, data.edge_index).square().sum(), x)
    recomputed = torch.utils.checkpoint.checkpoint(conv, x, data.edge_index, use_reentrant=False)
    (got,) = torch.autograd.grad(recomputed.square().sum(), x)
    torch.testing.assert_close(got, wanted)


def test_dropout_of_chosen_rows_is_refused(data):
    model = fg.convert(torch.nn.Sequential(torch.nn.Dropout(0.5)), data)
    with pytest.raises(UnsupportedOperation, match=r"the graph has nodes: 67 of type node; .* rows: \[5\]$"):
        model(data.x[:5])

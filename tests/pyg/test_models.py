import pytest
import torch
from torch_geometric.nn.models import GAT

from fullgraph.errors import InputError
from fullgraph.pyg.models import MODELS, build_model


@pytest.mark.parametrize("name", MODELS)
def test_weights_depend_on_the_seed_alone(name):
    torch.manual_seed(7)
    before = torch.random.get_rng_state()
    first = build_model(name, 5, 3, hidden=8, num_layers=2, seed=1, norm="batch_norm").state_dict()
    assert torch.equal(torch.random.get_rng_state(), before)
    torch.rand(1)
    second = build_model(name, 5, 3, hidden=8, num_layers=2, seed=1, norm="batch_norm").state_dict()
    other = build_model(name, 5, 3, hidden=8, num_layers=2, seed=2, norm="batch_norm").state_dict()
    assert all(torch.equal(first[key], second[key]) for key in first)
    assert not all(torch.equal(first[key], other[key]) for key in first)


def test_input_dropout_leaves_pygs_class_and_keys():
    model = build_model("gat", 5, 3, hidden=8, num_layers=2, heads=2, seed=0, input_dropout=0.9)
    assert type(model) is GAT
    plain = GAT(5, 8, 2, 3, heads=2)
    assert model.state_dict().keys() == plain.state_dict().keys()
    plain.load_state_dict(model.state_dict())
    x, edge_index = torch.rand(4, 5), torch.tensor([[0, 1, 2], [1, 2, 3]])
    torch.testing.assert_close(model.eval()(x, edge_index), plain.eval()(x, edge_index))
    assert not torch.allclose(model.train()(x, edge_index), plain(x, edge_index))


def test_an_unknown_model_is_refused():
    with pytest.raises(InputError) as caught:
        build_model("gcm", 5, 3, hidden=8, num_layers=2, seed=0)
    assert str(caught.value) == "model must be one of gcn, sage, gin, gat: 'gcm'"

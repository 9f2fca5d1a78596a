"""The remote-aware index keeps the global meaning of what layers do to an edge_index, and refuses what has none."""

import copy

import pytest
import torch
from torch_geometric.utils import add_self_loops, degree, remove_self_loops, scatter, softmax

import fullgraph as fg
from fullgraph.errors import UnsupportedOperation
from fullgraph.pyg.index import RemoteIds, RemoteIndex
from tests.equivalence.graphs import awkward_graph
from tests.ranks import run_ranks


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    path = tmp_path_factory.mktemp("graphs") / "graph.fg"
    fg.partition(awkward_graph(), path, num_parts=3)
    return str(path)


def whole(name: str):
    """The same computations on the whole graph."""
    data = awkward_graph()
    src, dst = data.edge_index
    x, n = data.x, data.num_nodes
    return {
        "read": scatter(x[src], dst, 0, n),
        "select": scatter(x.index_select(-2, src), dst, 0, n),
        "read columns": scatter(x[src, 1:3], dst, 0, n),
        "out-degree": degree(src, n, dtype=torch.float64),
        "in-degree": degree(dst, n, dtype=torch.float64),
        "flipped": scatter(x[data.edge_index.flip(0)[0]], data.edge_index.flip(0)[1], 0, n),
        "softmax": scatter(softmax(x[src, :1], dst, num_nodes=n) * x[src], dst, 0, n),
        "loops": scatter(
            x[add_self_loops(*remove_self_loops(data.edge_index), num_nodes=n)[0][0]],
            add_self_loops(*remove_self_loops(data.edge_index), num_nodes=n)[0][1],
            0,
            n,
        ),
    }[name]


def on_rank(world: fg.World, path: str, name: str):
    data = fg.open(path, world)
    index, x, n = data.edge_index, data.x, data.num_nodes
    src, dst = index
    if name == "read":
        out = scatter(x[src], dst, 0, n)
    elif name == "select":
        out = scatter(x.index_select(-2, index[0]), index[1], 0, n)
    elif name == "read columns":
        out = scatter(x[src, 1:3], dst, 0, n)
    elif name == "out-degree":
        out = degree(src, n, dtype=torch.float64)
    elif name == "in-degree":
        out = degree(dst, n, dtype=torch.float64)
    elif name == "flipped":
        flipped = index.flip(0)
        out = scatter(x[flipped[0]], flipped[1], 0, n)
    elif name == "softmax":
        out = scatter(softmax(x[src, :1], dst, num_nodes=n) * x[src], dst, 0, n)
    else:
        looped, _ = add_self_loops(*remove_self_loops(index), num_nodes=n)
        out = scatter(x[looped[0]], looped[1], 0, n)
    return fg.gather_rows(out, data)


@pytest.mark.parametrize("num_ranks", [1, 3])
@pytest.mark.parametrize(
    "name", ["read", "select", "read columns", "out-degree", "in-degree", "flipped", "softmax", "loops"]
)
def test_operations_keep_their_global_meaning(path, name, num_ranks):
    torch.testing.assert_close(run_ranks(num_ranks, on_rank, path, name)[0], whole(name), rtol=1e-12, atol=1e-12)


def transposed_gradient(world: fg.World, path: str):
    """Reading and adding by remote ids are each other's adjoint, gradients included."""
    data = fg.open(path, world)
    src, dst = data.edge_index
    x = data.x.clone().requires_grad_()
    out = torch.zeros_like(x).scatter_add_(0, src.view(-1, 1).expand(-1, x.size(1)), x[dst] * 2)
    (out * data.x).sum().backward()
    return fg.gather_rows(out.detach(), data), fg.gather_rows(x.grad, data)


def test_adding_into_remote_rows_has_the_gradient_of_the_whole_graph(path):
    data = awkward_graph()
    src, dst = data.edge_index
    x = data.x.clone().requires_grad_()
    out = torch.zeros_like(x).scatter_add_(0, src.view(-1, 1).expand(-1, x.size(1)), x[dst] * 2)
    (out * data.x).sum().backward()
    got, grad = run_ranks(3, transposed_gradient, path)[0]
    torch.testing.assert_close(got, out.detach())
    torch.testing.assert_close(grad, x.grad)


@pytest.fixture(scope="module")
def index(path):
    return fg.open(path).edge_index


def test_it_looks_like_an_index(index):
    assert isinstance(index, torch.Tensor)
    assert index.shape == (2, awkward_graph().num_edges)
    assert index.dtype == torch.int64
    assert int(index.max()) + 1 == awkward_graph().num_nodes
    assert type(index[1]) is torch.Tensor
    assert type(index[0]) is RemoteIds
    assert type(index[:, :3]) is RemoteIndex
    assert repr(index).startswith("RemoteIndex(")
    assert copy.deepcopy(index) is index


def test_edges_keep_their_keys(index):
    mask = index[0] != index[1]
    chosen = index[:, mask]
    assert torch.equal(chosen.edge_keys, index.edge_keys[mask])
    looped = index.with_self_loops
    assert looped is index.with_self_loops, "derived once"
    num_loops = awkward_graph().num_nodes
    assert torch.equal(looped.edge_keys[-num_loops:], awkward_graph().num_edges + index.relation.dst_ids)
    again = torch.cat([chosen, torch.arange(num_loops).repeat(2, 1)], dim=1)
    assert torch.equal(again.edge_keys, looped.edge_keys)
    assert torch.cat([chosen, torch.tensor([[0], [1]])], dim=1).edge_keys is None


@pytest.mark.parametrize(
    ("operation", "name"),
    [
        (lambda index: index + 1, "torch.Tensor.add"),
        (lambda index: index[0] * 100 + index[1], "torch.Tensor.mul"),
        (lambda index: index.unique(dim=1), "torch.Tensor.unique"),
        (lambda index: index[0].sort(), "torch.Tensor.sort"),
        (lambda index: torch.bincount(index[0]), "torch.bincount"),
        (lambda index: index.view(-1), "torch.Tensor.view"),
        (lambda index: index.numpy(), "torch.Tensor.numpy"),
        (lambda index: index.tolist(), "torch.Tensor.tolist"),
        (lambda index: torch.zeros(67).scatter_reduce(0, index[0], torch.ones(393), "amax"), "scatter_reduce"),
    ],
)
def test_what_has_no_global_meaning_is_refused_by_name(index, operation, name):
    with pytest.raises(UnsupportedOperation) as raised:
        operation(index)
    message = str(raised.value)
    assert message.startswith("this operation on the edge_index of a partitioned graph has no global meaning")
    assert name in message.rpartition(": ")[2]


def test_rows_that_are_not_nodes_are_refused(index):
    with pytest.raises(
        UnsupportedOperation, match=r"one row per owned node \(67 here\).*this tensor has shape: \(5, 2\)$"
    ):
        torch.zeros(5, 2)[index[0]]
    with pytest.raises(UnsupportedOperation, match=r"this tensor has shape: \(5,\)$"):
        torch.zeros(5).scatter_add_(0, index[0], torch.ones(index.size(1)))

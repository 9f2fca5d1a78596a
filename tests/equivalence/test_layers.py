"""The law for single layers in every configuration that a rule claims, gradients of edges' values included."""

import pytest
import torch
from torch_geometric import nn as pyg

import fullgraph as fg
from fullgraph.config import MODES
from tests.equivalence.graphs import NUM_FEATURES as F_IN
from tests.equivalence.graphs import awkward_graph
from tests.ranks import run_ranks

F_OUT = 8
WEIGHTED, ATTRIBUTED = "edge_weight", "edge_attr"
LAYERS = {
    "gcn": (lambda: pyg.GCNConv(F_IN, F_OUT), None),
    "gcn improved": (lambda: pyg.GCNConv(F_IN, F_OUT, improved=True), WEIGHTED),
    "gcn weighted": (lambda: pyg.GCNConv(F_IN, F_OUT), WEIGHTED),
    "gcn without self-loops": (lambda: pyg.GCNConv(F_IN, F_OUT, add_self_loops=False), WEIGHTED),
    "gcn unnormalised": (lambda: pyg.GCNConv(F_IN, F_OUT, normalize=False, bias=False), WEIGHTED),
    "gcn cached": (lambda: pyg.GCNConv(F_IN, F_OUT, cached=True), None),
    "gcn reversed": (lambda: pyg.GCNConv(F_IN, F_OUT, flow="target_to_source"), WEIGHTED),
    "sage mean": (lambda: pyg.SAGEConv(F_IN, F_OUT), None),
    "sage sum": (lambda: pyg.SAGEConv(F_IN, F_OUT, aggr="sum", root_weight=False), None),
    "sage max project": (lambda: pyg.SAGEConv(F_IN, F_OUT, aggr="max", project=True), None),
    "sage min normalize": (lambda: pyg.SAGEConv(F_IN, F_OUT, aggr="min", normalize=True), None),
    "sage several": (lambda: pyg.SAGEConv(F_IN, F_OUT, aggr=["mean", "max", "std"]), None),
    "gin": (lambda: pyg.GINConv(torch.nn.Linear(F_IN, F_OUT), train_eps=True), None),
    "gin max": (lambda: pyg.GINConv(torch.nn.Linear(F_IN, F_OUT), aggr="max"), None),
    "graph": (lambda: pyg.GraphConv(F_IN, F_OUT), WEIGHTED),
    "graph mean": (lambda: pyg.GraphConv(F_IN, F_OUT, aggr="mean"), WEIGHTED),
    "graph max": (lambda: pyg.GraphConv(F_IN, F_OUT, aggr="max"), WEIGHTED),
    "gat": (lambda: pyg.GATConv(F_IN, F_OUT // 4, heads=4), None),
    "gat averaged": (lambda: pyg.GATConv(F_IN, F_OUT, heads=3, concat=False, bias=False), None),
    "gat without self-loops": (lambda: pyg.GATConv(F_IN, F_OUT // 2, heads=2, add_self_loops=False), None),
    "gat residual": (lambda: pyg.GATConv(F_IN, F_OUT // 2, heads=2, residual=True), None),
    "gat edges": (lambda: pyg.GATConv(F_IN, F_OUT // 2, heads=2, edge_dim=3, negative_slope=0.4), ATTRIBUTED),
    "gat edges, zero loops": (lambda: pyg.GATConv(F_IN, F_OUT, edge_dim=3, fill_value=0.5), ATTRIBUTED),
    "gat edges, no loops": (lambda: pyg.GATConv(F_IN, F_OUT, edge_dim=3, add_self_loops=False), ATTRIBUTED),
    "gat of pairs": (lambda: pyg.GATConv((F_IN, F_IN), F_OUT // 2, heads=2), None),
    "gatv2": (lambda: pyg.GATv2Conv(F_IN, F_OUT // 2, heads=2), None),
    "gatv2 shared": (
        lambda: pyg.GATv2Conv(F_IN, F_OUT, heads=3, concat=False, share_weights=True, residual=True),
        None,
    ),
    "gatv2 of pairs": (lambda: pyg.GATv2Conv((F_IN, F_IN), F_OUT, add_self_loops=False, negative_slope=0.3), None),
    "gatv2 edges": (lambda: pyg.GATv2Conv(F_IN, F_OUT // 2, heads=2, edge_dim=3), ATTRIBUTED),
    "transformer": (lambda: pyg.TransformerConv(F_IN, F_OUT // 2, heads=2), None),
    "transformer beta": (lambda: pyg.TransformerConv(F_IN, F_OUT, heads=3, concat=False, beta=True), None),
    "transformer bare": (lambda: pyg.TransformerConv(F_IN, F_OUT, root_weight=False, bias=False), None),
    "transformer edges": (lambda: pyg.TransformerConv(F_IN, F_OUT // 2, heads=2, edge_dim=3), ATTRIBUTED),
    "gine": (lambda: pyg.GINEConv(torch.nn.Linear(F_IN, F_OUT), edge_dim=3), ATTRIBUTED),
    "chebyshev": (lambda: pyg.ChebConv(F_IN, F_OUT, K=3), WEIGHTED),
    "appnp": (lambda: pyg.APPNP(3, 0.1), None),
    "edge": (lambda: pyg.EdgeConv(torch.nn.Linear(2 * F_IN, F_OUT)), None),
    "both directions": (lambda: pyg.DirGNNConv(pyg.SAGEConv(F_IN, F_OUT)), None),
}


def gradients_of(name: str, data, edge_grad: bool):
    """Output, the gradients of x and of the edges' values, and each parameter's."""
    build, edge_argument = LAYERS[name]
    torch.manual_seed(3)
    layer = build().double()
    arguments = {} if edge_argument is None else {edge_argument: data[edge_argument].clone().requires_grad_(edge_grad)}
    return layer, arguments


def run_layer(layer, data, x, arguments):
    out = layer(x, data.edge_index, **arguments)
    torch.manual_seed(4)
    probe = torch.randn(200, out.size(1), dtype=torch.float64)
    ids = data.node_ids if "node_ids" in data else torch.arange(len(x))
    (out * probe[ids]).sum().backward()
    return out


def on_a_rank(world: fg.World, path: str, mode: str, name: str, edge_grad: bool):
    data = fg.open(path, world, mode=mode, prefetch=0, round_rows=4, chunk_edges=40)
    layer, arguments = gradients_of(name, data, edge_grad)
    fg.convert(layer, data)
    x = data.x.requires_grad_()
    out = run_layer(layer, data, x, arguments)
    parameters = {key: world.all_reduce(p.grad.clone()) for key, p in layer.named_parameters() if p.grad is not None}
    edges = [(data.edge_ids, t.grad) for t in arguments.values() if t.grad is not None]
    return fg.gather_rows(out, data), fg.gather_rows(x.grad, data), parameters, edges


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    data, path = awkward_graph(5), tmp_path_factory.mktemp("graphs") / "graph.fg"
    data.edge_ids = torch.arange(data.num_edges)
    fg.partition(data, path, num_parts=3)
    return str(path)


@pytest.mark.parametrize("edge_grad", [False, True], ids=["constant edges", "edges with gradients"])
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", LAYERS)
def test_layer_equals_plain_pyg(path, name, mode, edge_grad):
    if edge_grad and LAYERS[name][1] is None:
        edge_grad = False
    data = awkward_graph(5)
    layer, arguments = gradients_of(name, data, edge_grad)
    x = data.x.requires_grad_()
    out = run_layer(layer, data, x, arguments)
    answers = run_ranks(3, on_a_rank, path, mode, name, edge_grad)
    got_out, got_grad, parameters, _ = answers[0]
    close = {"rtol": 1e-9, "atol": 1e-10}
    torch.testing.assert_close(got_out, out.detach(), **close)
    torch.testing.assert_close(got_grad, x.grad, **close)
    wanted = {key: parameter.grad for key, parameter in layer.named_parameters() if parameter.grad is not None}
    assert parameters.keys() == wanted.keys()
    for key, grad in wanted.items():
        torch.testing.assert_close(parameters[key], grad, **close)
    for value in arguments.values():
        if value.grad is None:
            continue
        got = torch.zeros_like(value)
        for *_, edges in answers:
            for ids, grad in edges:
                got[ids] = grad
        torch.testing.assert_close(got, value.grad, **close)

"""The law for single layers in every configuration that a rule claims, gradients of edges' values included."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch_geometric import nn as pyg

import fullgraph as fg
from fullgraph.config import MODES
from tests.combinations import combinations
from tests.equivalence.cut import cut_once
from tests.equivalence.graphs import NUM_FEATURES as F_IN
from tests.equivalence.graphs import NUM_NODES, awkward_graph
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


def result(name: str, data: Any, edge_grad: bool, convert: Callable[[Any], Any]) -> dict[str, torch.Tensor]:
    """The output, and the gradients of x, of the edges' values and of the parameters."""
    build, edge_argument = LAYERS[name]
    torch.manual_seed(3)
    layer = convert(build().double())
    leaves = {"x": data.x.clone().requires_grad_()}
    if edge_argument is not None:
        leaves[edge_argument] = data[edge_argument].clone().requires_grad_(edge_grad)
    out = layer(edge_index=data.edge_index, **leaves)
    probe = torch.linspace(-1, 2, NUM_NODES * out.size(1), dtype=torch.float64).sin()
    (out * probe.view(NUM_NODES, -1)).sum().backward()
    grads = {key: leaf.grad for key, leaf in (*leaves.items(), *layer.named_parameters()) if leaf.grad is not None}
    return {"out": out.detach(), **grads}


def on_a_rank(world: fg.World, path: str, mode: str, name: str, edge_grad: bool):
    data = fg.open(path, world, mode=mode, prefetch=0, round_rows=4, chunk_edges=40)
    found = result(name, data, edge_grad, lambda layer: fg.prepare(layer, data))
    return {key: fg.gather(value) for key, value in found.items()}


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return cut_once(tmp_path_factory.mktemp("graphs"), awkward_graph(5))("metis", 3)


@combinations(name=LAYERS, mode=MODES, num_ranks=[2, 3], edge_grad=[False, True])
def test_layer_equals_plain_pyg(path, name, mode, num_ranks, edge_grad):
    wanted = result(name, awkward_graph(5), edge_grad, lambda layer: layer)
    for answer in run_ranks(num_ranks, on_a_rank, path, mode, name, edge_grad):
        torch.testing.assert_close(answer, wanted, rtol=1e-9, atol=1e-10)

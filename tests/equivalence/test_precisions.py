"""Every family of layers in every mode and precision has the gradients of plain PyG, however much is made again."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F
import torch_geometric.nn as pyg
from torch import Tensor
from torch_geometric.data import Data

import fullgraph as fg
from fullgraph.config import MODES
from tests.equivalence.graphs import NUM_FEATURES, awkward_graph
from tests.equivalence.own_layers import EdgeMLP, Gated
from tests.ranks import run_ranks

pytestmark = pytest.mark.filterwarnings("ignore:The usage of `scatter:UserWarning")  # of PyG on a GPU
WIDTH, NUM_EDGE = 8, 3
TOLERANCE = {"float64": 1e-9, "float32": 1e-4, "bfloat16": 3e-2}


def mlp(num_in: int) -> torch.nn.Module:
    return torch.nn.Sequential(torch.nn.Linear(num_in, WIDTH), torch.nn.ReLU(), torch.nn.Linear(WIDTH, WIDTH))


LAYERS: dict[str, Any] = {
    "GCN": lambda: pyg.GCNConv(WIDTH, WIDTH),
    "GCN wider, weights of float64": lambda: pyg.GCNConv(WIDTH, 2 * WIDTH),
    "GCN narrower, weights of float64": lambda: pyg.GCNConv(WIDTH, WIDTH // 2),
    "Graph": lambda: pyg.GraphConv(WIDTH, WIDTH // 2),
    "SAGE mean": lambda: pyg.SAGEConv(WIDTH, WIDTH),
    "SAGE max": lambda: pyg.SAGEConv(WIDTH, WIDTH, aggr="max"),
    "SAGE min and std": lambda: pyg.SAGEConv(WIDTH, WIDTH, aggr=["min", "std"]),
    "SAGE LSTM": lambda: pyg.SAGEConv(WIDTH, WIDTH, aggr="lstm"),
    "GAT": lambda: pyg.GATConv(WIDTH, WIDTH // 2, heads=2),
    "GATv2": lambda: pyg.GATv2Conv(WIDTH, WIDTH, heads=2, concat=False),
    "Transformer": lambda: pyg.TransformerConv(WIDTH, WIDTH // 2, heads=2),
    "EdgeConv": lambda: pyg.EdgeConv(mlp(2 * WIDTH), aggr="max"),
    "PNA": lambda: pyg.PNAConv(WIDTH, WIDTH, ["mean", "max", "min"], ["identity", "linear"], torch.arange(30)),
    "GEN": lambda: pyg.GENConv(WIDTH, WIDTH, aggr="softmax", learn_t=True),
    "edge network": lambda: EdgeMLP(WIDTH, WIDTH),
    "softmax in a message": lambda: Gated(WIDTH, WIDTH, NUM_EDGE),
}


class Dropping(pyg.MessagePassing):
    """Dropout in a message that is made again."""

    def __init__(self) -> None:
        super().__init__(aggr="max")
        self.lin = torch.nn.Linear(2 * WIDTH, WIDTH)

    def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
        return self.propagate(edge_index, x=x)

    def message(self, x_i: Tensor, x_j: Tensor) -> Tensor:
        return F.dropout(self.lin(torch.cat([x_i, x_j], dim=1)), 0.3, self.training)


DROPPING: dict[str, Any] = {
    "message": Dropping,
    "GAT": lambda: pyg.GATConv(WIDTH, WIDTH // 2, heads=2, dropout=0.4),
    "GATv2": lambda: pyg.GATv2Conv(WIDTH, WIDTH // 2, heads=2, dropout=0.4),
    "Transformer": lambda: pyg.TransformerConv(WIDTH, WIDTH // 2, heads=2, dropout=0.4),
}


class Model(torch.nn.Module):
    """A layer whose input needs a gradient."""

    def __init__(self, layer: torch.nn.Module):
        super().__init__()
        self.first, self.layer = torch.nn.Linear(NUM_FEATURES, WIDTH), layer

    def forward(self, data: Any) -> Tensor:
        more = [data.edge_attr] if isinstance(self.layer, Gated) else []
        if isinstance(self.layer, pyg.GCNConv) and self.layer.out_channels != WIDTH:
            more = [data.edge_weight]
        return self.layer(self.first(data.x).tanh(), data.edge_index, *more)


def graph(precision: str, device: str | torch.device = "cpu") -> Data:
    data = awkward_graph()
    dtype = torch.float64 if precision == "float64" else torch.float32
    for name in ("x", "edge_attr"):
        data[name] = data[name].to(dtype)
    data = Data(x=data.x, edge_index=data.edge_index, edge_attr=data.edge_attr, edge_weight=data.edge_weight)
    return data.sort(sort_by_row=False).to(device)  # as an LSTM over neighbours asks in PyG


def gradients(layer: Any, data: Any, precision: str, *, prepared: bool) -> dict[str, Tensor]:
    """Of the output and all parameters; whatever is drawn is drawn alike."""
    torch.manual_seed(2)
    model = Model(layer()).to(data.x.device, data.x.dtype)
    if prepared:
        fg.prepare(model, data)
    torch.manual_seed(5)
    with torch.autocast(data.x.device.type, dtype=torch.bfloat16, enabled=precision == "bfloat16"):
        out = model(data)
        probe = torch.linspace(-1, 1, out.numel()).view(out.shape).sin()
        (out.to(data.x.dtype) * probe.to(data.x.device, data.x.dtype)).sum().backward()  # under autocast, as one may
    found = {"output": fg.gather(out.detach()) if prepared else out.detach()}
    found |= {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
    return {name: tensor.cpu() for name, tensor in found.items()}


def on_ranks(world: fg.World, table: str, mode: Any, precision: str) -> dict[str, dict[str, Tensor]]:
    layers = LAYERS if table == "LAYERS" else DROPPING
    data = fg.open(graph(precision), world, mode=mode, round_rows=7, chunk_edges=37)
    return {name: gradients(layer, data, precision, prepared=True) for name, layer in layers.items()}


def differences(found: dict[str, Any], wanted: dict[str, Any], precision: str) -> list[str]:
    """What is further from what was wanted than its tolerance of the largest number, by layer and tensor."""
    wrong = []
    for name, tensors in wanted.items():
        assert found[name].keys() == tensors.keys(), name
        largest = max(float(tensor.abs().max()) for tensor in tensors.values())
        for of, want in tensors.items():
            got = found[name][of]
            error = float((got.double() - want.double()).abs().max()) / largest
            if not error <= TOLERANCE[precision] or got.dtype != want.dtype:
                wrong.append(f"{name}: {of}: {error:.1e}, {got.dtype} for {want.dtype}")
    return wrong


@pytest.mark.parametrize("num_ranks", [1, 2, 3])
@pytest.mark.parametrize("precision", TOLERANCE)
def test_every_mode_has_the_gradients_of_plain_pyg(num_ranks: int, precision: str, device: str) -> None:
    whole = graph(precision, device)
    wanted = {n: gradients(layer, whole, precision, prepared=False) for n, layer in LAYERS.items()}
    for mode in MODES:
        for found in run_ranks(num_ranks, on_ranks, "LAYERS", mode, precision, device=device):
            assert not differences(found, wanted, precision), mode


@pytest.mark.parametrize("precision", TOLERANCE)
def test_every_mode_drops_alike_on_any_number_of_ranks(precision: str, device: str) -> None:
    (wanted,) = run_ranks(1, on_ranks, "DROPPING", "sar", precision)
    for num_ranks in (1, 2, 3):
        for mode in MODES:
            for found in run_ranks(num_ranks, on_ranks, "DROPPING", mode, precision, device=device):
                assert not differences(found, wanted, precision), (num_ranks, mode)


def test_autocast_leaves_float64_alone() -> None:
    whole = graph("float64")
    wanted = {n: gradients(layer, whole, "bfloat16", prepared=False) for n, layer in LAYERS.items()}
    data = fg.open(whole)
    found = {n: gradients(layer, data, "bfloat16", prepared=True) for n, layer in LAYERS.items()}
    assert not differences(found, wanted, "float64")

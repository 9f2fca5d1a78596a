"""A small graph of several node types with everything that goes wrong, and the layers and models that run on it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch_geometric import nn as pyg
from torch_geometric.data import HeteroData

SIZES = {"paper": 31, "author": 24, "venue": 3, "idle": 2}
WIDTHS = {"paper": 6, "author": 4, "venue": 5, "idle": 2}
NUM_OUT = 4

CITES = ("paper", "cites", "paper")
WRITES = ("author", "writes", "paper")
WRITTEN = ("paper", "written", "author")
IN = ("paper", "in", "venue")
HAS = ("venue", "has", "paper")
NONE = ("venue", "hires", "author")
RELATIONS = [CITES, WRITES, WRITTEN, IN, HAS, NONE]


def awkward_hetero(seed: int = 0) -> HeteroData:
    """Types of different width; 3 venues, fewer than there may be ranks; two idle nodes without any edge; a relation
    without any edge; self-loops, repeated edges, a hub, authors without papers; weights and attributes on edges."""
    rng = torch.Generator().manual_seed(seed)
    data = HeteroData()
    for kind, count in SIZES.items():
        data[kind].x = torch.randn(count, WIDTHS[kind], generator=rng, dtype=torch.float64)
        data[kind].probe = torch.randn(count, NUM_OUT, generator=rng, dtype=torch.float64)
        data[kind].place = torch.arange(count)
    data["paper"].y = torch.randint(0, NUM_OUT, (SIZES["paper"],), generator=rng)
    data["paper"].train_mask = torch.rand(SIZES["paper"], generator=rng) < 0.6
    counts = {CITES: 70, WRITES: 60, WRITTEN: 45, IN: 31, HAS: 20, NONE: 0}
    for (src, name, dst), count in counts.items():
        # The last author and the last paper have no edge at all.
        ends = [torch.randint(0, SIZES[kind] - (kind != "venue"), (count,), generator=rng) for kind in (src, dst)]
        index = torch.stack(ends)
        if name == "cites":
            index = torch.cat([index, torch.tensor([[3, 3, 8, 8], [3, 3, 8, 9]])], dim=1)
        if name == "writes":
            index[1, :20] = 7
        data[src, name, dst].edge_index = index
        num_edges = index.size(1)
        data[src, name, dst].edge_weight = torch.rand(num_edges, generator=rng, dtype=torch.float64) + 0.1
        data[src, name, dst].edge_attr = torch.randn(num_edges, 3, generator=rng, dtype=torch.float64)
    return data


@dataclass(frozen=True)
class HeteroCase:
    """One module and how it is called; it returns rows of one or several types."""

    name: str
    build: Callable[[], torch.nn.Module]
    call: Callable[[Any, HeteroData], dict[str, Tensor]]


def by_dictionaries(module: Any, data: HeteroData) -> dict[str, Tensor]:
    return module(data.x_dict, data.edge_index_dict)


def hetero_conv(name: str, make: Callable[[int, int], torch.nn.Module], *extra: str, aggr: str = "sum") -> HeteroCase:
    """``make(width of sources, width of destinations)`` for every relation."""

    def build() -> torch.nn.Module:
        return pyg.HeteroConv({r: make(WIDTHS[r[0]], WIDTHS[r[2]]) for r in RELATIONS}, aggr=aggr)

    def call(module: Any, data: HeteroData) -> dict[str, Tensor]:
        return module(data.x_dict, data.edge_index_dict, **{f"{key}_dict": data.collect(key) for key in extra})

    return HeteroCase(name, build, call)


def mlp(width: int) -> torch.nn.Module:
    return torch.nn.Sequential(torch.nn.Linear(width, 5), torch.nn.Tanh(), torch.nn.Linear(5, NUM_OUT))


class Gin(torch.nn.Module):
    """GINConv adds both ends' rows, so they must have one width."""

    def __init__(self, src: int, dst: int):
        super().__init__()
        self.left, self.right = torch.nn.Linear(src, 5), torch.nn.Linear(dst, 5)
        self.conv = pyg.GINConv(mlp(5), train_eps=True)

    def forward(self, x: Any, edge_index: Any) -> Tensor:
        left, right = x if isinstance(x, tuple) else (x, x)
        return self.conv((self.left(left), self.right(right)), edge_index)


class Mixed(torch.nn.Module):
    """Another layer for each relation: a normalising one between papers, where PyG allows it."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = pyg.HeteroConv(
            {
                CITES: pyg.GCNConv(6, NUM_OUT),
                WRITES: pyg.SAGEConv((4, 6), NUM_OUT),
                HAS: pyg.GATConv((5, 6), 2, heads=2, add_self_loops=False),
                WRITTEN: pyg.TransformerConv((6, 4), 2, heads=2),
                IN: pyg.GraphConv((6, 5), NUM_OUT, aggr="mean"),
            },
            aggr="mean",
        )

    def forward(self, x_dict: Any, edge_index_dict: Any) -> dict[str, Tensor]:
        return self.conv(x_dict, edge_index_dict)


class Skipping(torch.nn.Module):
    """Two HGTConv layers, the second of which keeps a share of its input, which lacks the types without in-edges."""

    def __init__(self) -> None:
        super().__init__()
        self.first = pyg.HGTConv(WIDTHS, NUM_OUT, METADATA, heads=2)
        kinds = [kind for kind in SIZES if kind != "idle"]
        self.second = pyg.HGTConv(NUM_OUT, NUM_OUT, (kinds, RELATIONS[:-1]), heads=1)

    def forward(self, x_dict: Any, edge_index_dict: Any) -> dict[str, Tensor]:
        return self.second(self.first(x_dict, edge_index_dict), {r: edge_index_dict[r] for r in RELATIONS[:-1]})


class TwoLayers(torch.nn.Module):
    """A homogeneous model, for ``to_hetero``."""

    def __init__(self, conv: str):
        super().__init__()
        make = {
            "sage": lambda: pyg.SAGEConv((-1, -1), 8),
            "gat": lambda: pyg.GATConv((-1, -1), 4, heads=2, add_self_loops=False),
            "max": lambda: pyg.SAGEConv((-1, -1), 8, aggr="max"),
        }[conv]
        self.first, self.second = make(), make()
        self.norm = torch.nn.BatchNorm1d(8)
        self.last = torch.nn.Linear(8, NUM_OUT)

    def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
        x = self.norm(self.first(x, edge_index)).tanh()
        return self.last(self.second(x, edge_index).relu())


def two_layers(conv: str) -> HeteroCase:
    def build() -> torch.nn.Module:
        # `idle` takes part in no relation, and to_hetero refuses a type that no layer reaches.
        kinds = [kind for kind in SIZES if kind != "idle"]
        model = pyg.to_hetero(TwoLayers(conv).double(), (kinds, RELATIONS))
        data = awkward_hetero()
        model.eval()
        with torch.no_grad():
            model({k: data[k].x for k in kinds}, data.edge_index_dict)  # which sets its lazy layers' sizes
        return model.train()

    def call(module: Any, data: HeteroData) -> dict[str, Tensor]:
        return module({k: data[k].x for k in SIZES if k != "idle"}, data.edge_index_dict)

    return HeteroCase(f"to_hetero {conv}", build, call)


class OneType(torch.nn.Module):
    """A layer for nodes and edges with a type each, over all types as one."""

    def __init__(self, make: Callable[[int], torch.nn.Module], call: Callable[..., Tensor]):
        super().__init__()
        self.inputs = torch.nn.ModuleDict({kind: torch.nn.Linear(width, 6) for kind, width in WIDTHS.items()})
        self.conv = make(sum(SIZES.values()))
        self.call = call

    def forward(self, data: HeteroData) -> dict[str, Tensor]:
        flat = data.to_homogeneous()
        rows = [layer(data[kind].x) for kind, layer in self.inputs.items()]
        out = self.call(self.conv, torch.cat(rows), flat)
        return dict(zip(SIZES, out.split([len(there) for there in rows]), strict=True))


def one_type(name: str, make: Callable[[int], torch.nn.Module], call: Callable[..., Tensor]) -> HeteroCase:
    """``make(number of nodes)`` is called with ``(layer, rows, data of one type)``."""
    return HeteroCase(name, lambda: OneType(make, call), lambda module, data: module(data))


def typed_edges(conv: Any, x: Tensor, data: Any) -> Tensor:
    return conv(x, data.edge_index, data.edge_type)


def without_features(conv: Any, x: Tensor, data: Any) -> Tensor:
    return conv(None, data.edge_index, data.edge_type)


def typed_edges_with_attributes(conv: Any, x: Tensor, data: Any) -> Tensor:
    return conv(x, data.edge_index, data.edge_type, data.edge_attr)


def all_types(conv: Any, x: Tensor, data: Any) -> Tensor:
    return conv(x, data.edge_index, data.node_type, data.edge_type, data.edge_attr)


NUM_RELATIONS = 6
METADATA = (list(SIZES), RELATIONS)
HETERO_CASES = [
    hetero_conv("SAGEConv mean", lambda src, dst: pyg.SAGEConv((src, dst), NUM_OUT)),
    hetero_conv("SAGEConv sum", lambda src, dst: pyg.SAGEConv((src, dst), NUM_OUT, aggr="sum"), aggr="mean"),
    hetero_conv("SAGEConv max", lambda src, dst: pyg.SAGEConv((src, dst), NUM_OUT, aggr="max"), aggr="max"),
    hetero_conv("SAGEConv std", lambda src, dst: pyg.SAGEConv((src, dst), NUM_OUT, aggr="std")),
    hetero_conv("GraphConv", lambda src, dst: pyg.GraphConv((src, dst), NUM_OUT), "edge_weight"),
    hetero_conv("GraphConv max", lambda src, dst: pyg.GraphConv((src, dst), NUM_OUT, aggr="max"), "edge_weight"),
    hetero_conv("GINConv", Gin),
    hetero_conv("GATConv", lambda src, dst: pyg.GATConv((src, dst), 2, heads=2, add_self_loops=False, residual=True)),
    hetero_conv(
        "GATConv edges",
        lambda src, dst: pyg.GATConv((src, dst), 2, heads=2, add_self_loops=False, edge_dim=3),
        "edge_attr",
    ),
    hetero_conv("GATv2Conv", lambda src, dst: pyg.GATv2Conv((src, dst), 2, heads=2, add_self_loops=False)),
    hetero_conv("TransformerConv", lambda src, dst: pyg.TransformerConv((src, dst), 2, heads=2, beta=True)),
    hetero_conv(
        "TransformerConv edges", lambda src, dst: pyg.TransformerConv((src, dst), NUM_OUT, edge_dim=3), "edge_attr"
    ),
    hetero_conv("GeneralConv", lambda src, dst: pyg.GeneralConv((src, dst), NUM_OUT, attention=True)),
    hetero_conv(
        "NNConv", lambda src, dst: pyg.NNConv((src, dst), NUM_OUT, torch.nn.Linear(3, src * NUM_OUT)), "edge_attr"
    ),
    hetero_conv("ResGatedGraphConv", lambda src, dst: pyg.ResGatedGraphConv((src, dst), NUM_OUT)),
    hetero_conv("MFConv", lambda src, dst: pyg.MFConv((src, dst), NUM_OUT, max_degree=3)),
    HeteroCase("mixed", Mixed, by_dictionaries),
    HeteroCase("HGTConv", lambda: pyg.HGTConv(WIDTHS, NUM_OUT, METADATA, heads=2), by_dictionaries),
    HeteroCase("HGTConv skip", lambda: Skipping(), by_dictionaries),
    HeteroCase("HANConv", lambda: pyg.HANConv(WIDTHS, NUM_OUT, METADATA, heads=2), by_dictionaries),
    one_type("RGCNConv", lambda n: pyg.RGCNConv(6, NUM_OUT, NUM_RELATIONS, num_bases=2), typed_edges),
    one_type("RGCNConv blocks", lambda n: pyg.RGCNConv(6, NUM_OUT, NUM_RELATIONS, num_blocks=2), typed_edges),
    one_type("RGCNConv max", lambda n: pyg.RGCNConv(6, NUM_OUT, NUM_RELATIONS, aggr="max"), typed_edges),
    one_type("RGCNConv ids", lambda n: pyg.RGCNConv(n, NUM_OUT, NUM_RELATIONS, num_bases=2), without_features),
    one_type("FastRGCNConv", lambda n: pyg.FastRGCNConv(6, NUM_OUT, NUM_RELATIONS, num_bases=2), typed_edges),
    one_type("FastRGCNConv ids", lambda n: pyg.FastRGCNConv(n, NUM_OUT, NUM_RELATIONS), without_features),
    one_type(
        "RGATConv", lambda n: pyg.RGATConv(6, 2, NUM_RELATIONS, 3, heads=2, edge_dim=3), typed_edges_with_attributes
    ),
    one_type("HEATConv", lambda n: pyg.HEATConv(6, 2, 4, NUM_RELATIONS, 3, 3, 3, heads=2), all_types),
    one_type("GCNConv", lambda n: pyg.GCNConv(6, NUM_OUT), lambda conv, x, data: conv(x, data.edge_index)),
    two_layers("sage"),
    two_layers("max"),
    two_layers("gat"),
]


@dataclass(frozen=True)
class HeteroResult:
    """What a case gave: outputs by type, and gradients of inputs, edge arguments and parameters (zeros for None)."""

    out: dict[str, Tensor]
    inputs: dict[str, Tensor]
    edges: dict[tuple[str, str, str], Tensor]
    parameters: dict[str, Tensor]


def run_hetero(case: HeteroCase, data: HeteroData, convert: Callable[[torch.nn.Module], Any]) -> HeteroResult:
    """Build the module, call it, and differentiate a random linear function of all its outputs."""
    torch.manual_seed(3)
    module = case.build().double()
    convert(module)
    for kind in SIZES:
        data[kind].x = data[kind].x.detach().clone().requires_grad_()
    for relation in RELATIONS:
        for key in ("edge_weight", "edge_attr"):
            data[relation][key] = data[relation][key].detach().clone().requires_grad_()
    out = {kind: rows for kind, rows in case.call(module, data).items() if rows is not None}
    torch.stack([(rows * data[kind].probe).sum() for kind, rows in out.items()]).sum().backward()

    def grad(tensor: Tensor) -> Tensor:
        return torch.zeros_like(tensor) if tensor.grad is None else tensor.grad

    edges = {r: torch.cat([grad(data[r].edge_weight)[:, None], grad(data[r].edge_attr)], dim=1) for r in RELATIONS}
    return HeteroResult(
        {kind: rows.detach() for kind, rows in out.items()},
        {kind: grad(data[kind].x) for kind in SIZES},
        edges,
        {name: grad(p) for name, p in module.named_parameters()},
    )

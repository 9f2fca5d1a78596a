"""How a layer is built, called on a graph, and differentiated, the same way on a whole graph and on one rank's.

A case builds a layer and calls it on a PyG `Data`; `coverage` lists the cases of every class.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch_geometric.data import Data

from tests.equivalence import splines
from tests.equivalence.graphs import NUM_FEATURES as F_IN
from tests.equivalence.graphs import NUM_NODES, awkward_graph

F_OUT, NUM_TYPES = 8, 3
Outputs = Tensor | tuple[Tensor, ...]


@dataclass(frozen=True)
class Case:
    """One configuration of a layer: how it is built, and how it is called on a graph."""

    name: str
    build: Callable[[], torch.nn.Module]
    call: Callable[[Any, Data], Any]
    graph: str = "awkward"


def layer(
    cls: type,
    name: str,
    *arguments: str,
    call: Callable[[Any, Data], Any] | None = None,
    graph: str = "awkward",
    **settings: Any,
) -> Case:
    """A case of ``cls(**settings)``, called with the node rows, the edges and more arrays of the graph by keyword."""

    def plain_call(module: Any, g: Data) -> Any:
        return module(g.x, g.edge_index, **{argument: g[argument] for argument in arguments})

    def build() -> torch.nn.Module:
        # Modules among the settings are made anew, under the seed.
        return cls(**{k: v() if isinstance(v, Made) else v for k, v in settings.items()})

    return Case(name, build, call or plain_call, graph)


@dataclass(frozen=True)
class Made:
    """A setting that is built together with its layer."""

    build: Callable[[], Any]

    def __call__(self) -> Any:
        return self.build()


def mlp(num_in: int, num_out: int, norm: bool = False) -> Made:
    def build() -> torch.nn.Module:
        middle = [torch.nn.BatchNorm1d(12)] if norm else []
        return torch.nn.Sequential(torch.nn.Linear(num_in, 12), *middle, torch.nn.Tanh(), torch.nn.Linear(12, num_out))

    return Made(build)


def with_x0(module: Any, g: Data) -> Tensor:
    return module(g.x, g.x.tanh(), g.edge_index)


def with_x0_weighted(module: Any, g: Data) -> Tensor:
    return module(g.x, g.x.tanh(), g.edge_index, g.edge_weight)


def of_points(module: Any, g: Data) -> Tensor:
    return module(g.x, g.pos, g.edge_index)


def of_surfaces(module: Any, g: Data) -> Tensor:
    return module(g.x, g.pos, g.normal, g.edge_index)


def of_signs(module: Any, g: Data) -> Tensor:
    return module(g.x, g.edge_index[:, g.edge_type == 0], g.edge_index[:, g.edge_type > 0])


def of_signs_twice(module: Any, g: Data) -> Tensor:
    return module(
        torch.cat([g.x, g.x.tanh()], dim=1), g.edge_index[:, g.edge_type == 0], g.edge_index[:, g.edge_type > 0]
    )


def of_histories(module: Any, g: Data) -> Tensor:
    return module(torch.stack([g.x, g.x.tanh(), g.x.sin()], dim=1), g.edge_index, g.edge_weight)


def of_pairs(module: Any, g: Data) -> Tensor:
    return module((g.x, g.x.tanh()), g.edge_index)


def of_relations(module: Any, g: Data) -> Tensor:
    edges = {("n", str(i), "n"): g.edge_index[:, g.edge_type == i] for i in range(NUM_TYPES)}
    return module({"n": g.x}, edges)["n"]


def of_hyperedges(module: Any, g: Data) -> Tensor:
    return module(g.x, g.edge_index, num_edges=len(g.x))


def of_weighted_hyperedges(module: Any, g: Data) -> Tensor:
    return module(g.x, g.edge_index, hyperedge_weight=g.pos.norm(dim=1), num_edges=len(g.x))


def of_heats(module: Any, g: Data) -> Tensor:
    return module(g.x, g.edge_index, g.node_type, g.edge_type, g.edge_attr)


def of_colours(module: Any, g: Data) -> Tensor:
    return module(g.node_type, g.edge_index)


def of_one_hot_colours(module: Any, g: Data) -> Tensor:
    return module(module(torch.nn.functional.one_hot(g.node_type), g.edge_index), g.edge_index)


def of_negatives(module: Any, g: Data) -> Tensor:
    return module(g.x, g.edge_index[:, g.edge_type < 2], neg_edge_index=g.edge_index[:, g.edge_type == 2])


def of_splines(module: Any, g: Data) -> Tensor:
    return module(g.x, g.edge_index, g.edge_attr[:, :2].sigmoid())


SQUARE = {"in_channels": F_IN, "out_channels": F_OUT}
DEGREES = torch.tensor([2, 9, 14, 12, 12, 9, 5, 3, 1])
RELATIONS = [("n", str(i), "n") for i in range(NUM_TYPES)]


def bare(cls: type) -> Made:
    """A layer whose constructor needs a package that is not here."""

    def build() -> torch.nn.Module:
        module = cls.__new__(cls)
        torch.nn.Module.__init__(module)
        return module

    return Made(build)


def awkward() -> Data:
    """The awkward graph, renumbered, with positions, normals, types, and each edge's place in the original order."""
    g = awkward_graph(5)
    # EGConv takes the largest id with an edge for the last node, and would not know an isolated node behind it; nor
    # does a median of PyG know a first node without in-edges.
    new_id = torch.arange(len(g.x)).roll(-9)
    g.edge_index = new_id[g.edge_index]
    return with_more(g)


def mesh() -> Data:
    """Four in-edges for every node, one node's after another's, as MeshCNNConv wants them."""
    g = awkward_graph(5)
    num_nodes = len(g.x)
    rng = torch.Generator().manual_seed(7)
    src = torch.randint(0, num_nodes, (4 * num_nodes,), generator=rng)
    edge_index = torch.stack([src, torch.arange(num_nodes).repeat_interleave(4)])
    return with_more(Data(x=g.x, edge_index=edge_index, edge_weight=src.double(), edge_attr=src.double()[:, None]))


def with_more(g: Data) -> Data:
    """Adds what some layers read."""
    rng = torch.Generator().manual_seed(6)
    num_nodes, num_edges = len(g.x), g.edge_index.size(1)
    g.pos = torch.randn(num_nodes, 3, generator=rng, dtype=torch.float64)
    g.normal = torch.randn(num_nodes, 3, generator=rng, dtype=torch.float64)
    g.node_type = torch.randint(0, 2, (num_nodes,), generator=rng)
    g.edge_type = torch.randint(0, NUM_TYPES, (num_edges,), generator=rng)
    g.edge_ids = torch.arange(num_edges)
    return g


GRAPHS = {"awkward": awkward, "mesh": mesh}
NODE_LEAVES = ("x", "pos", "normal")
EDGE_LEAVES = ("edge_weight", "edge_attr")


@dataclass(frozen=True)
class Result:
    """What a layer gave: its output, the gradients of all leaves that it read and of its parameters, its buffers."""

    out: Tensor
    leaves: dict[str, Tensor | None]
    parameters: dict[str, Tensor]
    buffers: dict[str, Tensor]


def run(case: Case, g: Data, convert: Callable[[torch.nn.Module], Any]) -> Result:
    """Build the layer, call it on a graph, and differentiate a random linear function of its output."""
    default = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)  # MeshCNNConv makes a tensor of it
    try:
        return _run(case, g, convert)
    finally:
        torch.set_default_dtype(default)


def _run(case: Case, g: Data, convert: Callable[[torch.nn.Module], Any]) -> Result:
    splines.install()
    torch.manual_seed(3)
    module = case.build().double()
    convert(module)
    for name in (*NODE_LEAVES, *EDGE_LEAVES):
        g[name] = g[name].detach().clone().requires_grad_()
    out = case.call(module, g)
    if out.requires_grad:
        torch.manual_seed(4)
        probe = torch.randn(NUM_NODES, out.size(1))
        (out * probe).sum().backward()
    grads = {name: torch.zeros_like(p) if p.grad is None else p.grad for name, p in module.named_parameters()}
    leaves = {name: g[name].grad for name in (*NODE_LEAVES, *EDGE_LEAVES)}
    return Result(out.detach(), leaves, grads, dict(module.named_buffers()))

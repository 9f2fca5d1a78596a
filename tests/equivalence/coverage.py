"""Every layer class of ``torch_geometric.nn.conv``: at least two configurations to compare, or why there are none.

A case builds a layer and calls it on a graph. The graph is a PyG `Data`, whole or one rank's, so both sides run the
same code; docs/layers.md is generated from what is here.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch_geometric import nn as pyg
from torch_geometric.data import Data
from torch_geometric.nn import conv

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
    middle = [torch.nn.BatchNorm1d(12)] if norm else []

    def build() -> torch.nn.Module:
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

_CASES: dict[type, list[Case]] = {
    pyg.SimpleConv: [
        layer(conv.SimpleConv, "sum", "edge_weight"),
        layer(conv.SimpleConv, "mean, root beside", aggr="mean", combine_root="cat"),
        layer(conv.SimpleConv, "median", aggr="median", combine_root="self_loop"),
        layer(conv.SimpleConv, "max", aggr="max"),
    ],
    pyg.GCNConv: [
        layer(conv.GCNConv, "plain", **SQUARE),
        layer(conv.GCNConv, "improved, weighted", "edge_weight", **SQUARE, improved=True),
        layer(conv.GCNConv, "reversed", "edge_weight", **SQUARE, flow="target_to_source"),
    ],
    pyg.ChebConv: [
        layer(conv.ChebConv, "K=3, weighted", "edge_weight", **SQUARE, K=3),
        layer(conv.ChebConv, "random walk", **SQUARE, K=2, normalization="rw"),
    ],
    pyg.SAGEConv: [
        layer(conv.SAGEConv, "mean", **SQUARE),
        layer(conv.SAGEConv, "max, project", **SQUARE, aggr="max", project=True),
        layer(conv.SAGEConv, "several", **SQUARE, aggr=["mean", "std", "median"]),
        layer(conv.SAGEConv, "softmax", **SQUARE, aggr="softmax", aggr_kwargs={"learn": True}),
    ],
    pyg.GraphConv: [
        layer(conv.GraphConv, "sum, weighted", "edge_weight", **SQUARE),
        layer(conv.GraphConv, "max, weighted", "edge_weight", **SQUARE, aggr="max"),
    ],
    pyg.GatedGraphConv: [
        layer(conv.GatedGraphConv, "weighted", "edge_weight", out_channels=F_OUT, num_layers=2),
        layer(conv.GatedGraphConv, "mean", out_channels=F_OUT, num_layers=3, aggr="mean"),
    ],
    pyg.ResGatedGraphConv: [
        layer(conv.ResGatedGraphConv, "plain", **SQUARE),
        layer(conv.ResGatedGraphConv, "with edges", "edge_attr", **SQUARE, edge_dim=3),
    ],
    pyg.GATConv: [
        layer(conv.GATConv, "heads", in_channels=F_IN, out_channels=4, heads=2),
        layer(conv.GATConv, "with edges", "edge_attr", **SQUARE, heads=2, concat=False, edge_dim=3, residual=True),
    ],
    pyg.GATv2Conv: [
        layer(conv.GATv2Conv, "heads", in_channels=F_IN, out_channels=4, heads=2),
        layer(conv.GATv2Conv, "with edges", "edge_attr", **SQUARE, heads=2, concat=False, edge_dim=3),
    ],
    pyg.TransformerConv: [
        layer(conv.TransformerConv, "gated heads", in_channels=F_IN, out_channels=4, heads=2, beta=True),
        layer(conv.TransformerConv, "with edges", "edge_attr", **SQUARE, heads=2, concat=False, edge_dim=3),
    ],
    pyg.AGNNConv: [
        layer(conv.AGNNConv, "learned"),
        layer(conv.AGNNConv, "fixed, no self-loops", requires_grad=False, add_self_loops=False),
    ],
    pyg.TAGConv: [
        layer(conv.TAGConv, "weighted", "edge_weight", **SQUARE),
        layer(conv.TAGConv, "unnormalised", **SQUARE, K=2, normalize=False),
    ],
    pyg.GINConv: [
        layer(conv.GINConv, "sum", nn=mlp(F_IN, F_OUT), train_eps=True),
        layer(conv.GINConv, "batch norm within, mean", nn=mlp(F_IN, F_OUT, norm=True), aggr="mean"),
    ],
    pyg.GINEConv: [
        layer(conv.GINEConv, "projected edges", "edge_attr", nn=mlp(F_IN, F_OUT), edge_dim=3),
        layer(
            conv.GINEConv, "batch norm within", "edge_attr", nn=mlp(F_IN, F_OUT, norm=True), edge_dim=3, train_eps=True
        ),
    ],
    pyg.ARMAConv: [
        layer(conv.ARMAConv, "stacked", "edge_weight", **SQUARE, num_stacks=2, num_layers=2),
        layer(conv.ARMAConv, "shared", **SQUARE, num_stacks=3, num_layers=2, shared_weights=True),
    ],
    pyg.SGConv: [
        layer(conv.SGConv, "weighted", "edge_weight", **SQUARE, K=2),
        layer(conv.SGConv, "no self-loops", **SQUARE, K=3, add_self_loops=False),
    ],
    pyg.SSGConv: [
        layer(conv.SSGConv, "weighted", "edge_weight", **SQUARE, alpha=0.1, K=2),
        layer(conv.SSGConv, "no self-loops", **SQUARE, alpha=0.3, K=3, add_self_loops=False),
    ],
    pyg.APPNP: [
        layer(conv.APPNP, "weighted", "edge_weight", K=3, alpha=0.1),
        layer(conv.APPNP, "unnormalised, cached", K=2, alpha=0.2, cached=True, normalize=False),
    ],
    pyg.MFConv: [
        layer(conv.MFConv, "to degree 4", **SQUARE, max_degree=4),
        layer(conv.MFConv, "mean", **SQUARE, aggr="mean", bias=False),
    ],
    pyg.RGCNConv: [
        layer(conv.RGCNConv, "plain", "edge_type", **SQUARE, num_relations=NUM_TYPES),
        layer(conv.RGCNConv, "bases", "edge_type", **SQUARE, num_relations=NUM_TYPES, num_bases=2, aggr="max"),
        layer(conv.RGCNConv, "blocks", "edge_type", **SQUARE, num_relations=NUM_TYPES, num_blocks=2, aggr="sum"),
    ],
    pyg.FastRGCNConv: [
        layer(conv.FastRGCNConv, "plain", "edge_type", **SQUARE, num_relations=NUM_TYPES),
        layer(conv.FastRGCNConv, "bases", "edge_type", **SQUARE, num_relations=NUM_TYPES, num_bases=2, aggr="sum"),
    ],
    pyg.RGATConv: [
        layer(conv.RGATConv, "across relations", "edge_type", **SQUARE, num_relations=NUM_TYPES, heads=2),
        layer(
            conv.RGATConv,
            "within relations, with edges",
            "edge_type",
            "edge_attr",
            **SQUARE,
            num_relations=NUM_TYPES,
            num_bases=2,
            edge_dim=3,
            attention_mechanism="within-relation",
            attention_mode="multiplicative-self-attention",
            dim=2,
        ),
    ],
    pyg.SignedConv: [
        layer(conv.SignedConv, "first", call=of_signs, **SQUARE, first_aggr=True),
        layer(conv.SignedConv, "second", call=of_signs_twice, **SQUARE, first_aggr=False),
    ],
    pyg.DNAConv: [
        layer(conv.DNAConv, "plain", call=of_histories, channels=F_IN),
        layer(conv.DNAConv, "heads and groups", call=of_histories, channels=F_IN, heads=3, groups=3),
    ],
    pyg.PointNetConv: [
        layer(conv.PointNetConv, "local", call=of_points, local_nn=mlp(F_IN + 3, F_OUT)),
        layer(
            conv.PointNetConv,
            "batch norm within",
            call=of_points,
            local_nn=mlp(F_IN + 3, F_OUT),
            global_nn=mlp(F_OUT, F_OUT, norm=True),
        ),
    ],
    pyg.GMMConv: [
        layer(conv.GMMConv, "shared", "edge_attr", **SQUARE, dim=3, kernel_size=2),
        layer(
            conv.GMMConv, "separate", "edge_attr", **SQUARE, dim=3, kernel_size=2, separate_gaussians=True, aggr="max"
        ),
    ],
    pyg.NNConv: [
        layer(conv.NNConv, "sum", "edge_attr", **SQUARE, nn=mlp(3, F_IN * F_OUT)),
        layer(conv.NNConv, "mean", "edge_attr", **SQUARE, nn=mlp(3, F_IN * F_OUT), aggr="mean", root_weight=False),
    ],
    pyg.CGConv: [
        layer(conv.CGConv, "with edges", "edge_attr", channels=F_IN, dim=3),
        layer(conv.CGConv, "batch norm", channels=F_IN, batch_norm=True, aggr="mean"),
    ],
    pyg.EdgeConv: [
        layer(conv.EdgeConv, "max", nn=mlp(2 * F_IN, F_OUT)),
        layer(conv.EdgeConv, "batch norm within the message", nn=mlp(2 * F_IN, F_OUT, norm=True), aggr="sum"),
    ],
    pyg.PPFConv: [
        layer(conv.PPFConv, "local", call=of_surfaces, local_nn=mlp(F_IN + 4, F_OUT), add_self_loops=False),
        layer(
            conv.PPFConv,
            "local and global",
            call=of_surfaces,
            local_nn=mlp(F_IN + 4, F_OUT),
            global_nn=mlp(F_OUT, F_OUT),
            add_self_loops=False,
        ),
    ],
    pyg.FeaStConv: [
        layer(conv.FeaStConv, "heads", **SQUARE, heads=2),
        layer(conv.FeaStConv, "no self-loops", **SQUARE, heads=3, add_self_loops=False),
    ],
    pyg.PointTransformerConv: [
        layer(conv.PointTransformerConv, "plain", call=of_points, **SQUARE),
        layer(
            conv.PointTransformerConv,
            "own networks",
            call=of_points,
            **SQUARE,
            pos_nn=mlp(3, F_OUT),
            attn_nn=mlp(F_OUT, F_OUT),
            add_self_loops=False,
        ),
    ],
    pyg.HypergraphConv: [
        layer(conv.HypergraphConv, "plain", call=of_hyperedges, **SQUARE),
        layer(conv.HypergraphConv, "weighted hyperedges", call=of_weighted_hyperedges, **SQUARE),
    ],
    pyg.LEConv: [
        layer(conv.LEConv, "weighted", "edge_weight", **SQUARE),
        layer(conv.LEConv, "mean", **SQUARE, aggr="mean"),
    ],
    pyg.PNAConv: [
        layer(
            conv.PNAConv,
            "with edges",
            "edge_attr",
            **SQUARE,
            aggregators=["mean", "min", "max", "std"],
            scalers=["identity", "amplification", "attenuation"],
            deg=DEGREES,
            edge_dim=3,
        ),
        layer(
            conv.PNAConv,
            "towers",
            **SQUARE,
            aggregators=["sum", "var"],
            scalers=["linear", "inverse_linear"],
            deg=DEGREES,
            towers=2,
            train_norm=True,
        ),
    ],
    pyg.ClusterGCNConv: [
        layer(conv.ClusterGCNConv, "plain", **SQUARE),
        layer(conv.ClusterGCNConv, "diagonal", **SQUARE, diag_lambda=0.5),
    ],
    pyg.GENConv: [
        layer(conv.GENConv, "softmax, learned", "edge_attr", **SQUARE, learn_t=True, edge_dim=3),
        layer(
            conv.GENConv, "power mean, message norm", **SQUARE, aggr="powermean", learn_p=True, msg_norm=True, norm=None
        ),
    ],
    pyg.GCN2Conv: [
        layer(conv.GCN2Conv, "shared", call=with_x0, channels=F_IN, alpha=0.2, theta=0.5, layer=2),
        layer(conv.GCN2Conv, "weighted", call=with_x0_weighted, channels=F_IN, alpha=0.2, shared_weights=False),
    ],
    pyg.WLConvContinuous: [
        layer(conv.WLConvContinuous, "plain"),
        layer(conv.WLConvContinuous, "weighted", "edge_weight"),
    ],
    pyg.FiLMConv: [
        layer(conv.FiLMConv, "one relation", **SQUARE),
        layer(conv.FiLMConv, "relations", "edge_type", **SQUARE, num_relations=NUM_TYPES, aggr="max"),
    ],
    pyg.SuperGATConv: [
        layer(conv.SuperGATConv, "mixed", call=of_negatives, in_channels=F_IN, out_channels=4, heads=2),
        layer(
            conv.SuperGATConv,
            "dot product",
            call=of_negatives,
            **SQUARE,
            heads=2,
            concat=False,
            attention_type="SD",
            add_self_loops=False,
        ),
    ],
    pyg.FAConv: [
        layer(conv.FAConv, "plain", call=with_x0, channels=F_IN),
        layer(conv.FAConv, "own weights", call=with_x0_weighted, channels=F_IN, normalize=False),
    ],
    pyg.EGConv: [
        layer(conv.EGConv, "symmetric norm", **SQUARE, num_heads=2),
        layer(conv.EGConv, "several", **SQUARE, aggregators=["sum", "std", "max"], num_heads=4, num_bases=2),
    ],
    pyg.PDNConv: [
        layer(conv.PDNConv, "plain", "edge_attr", **SQUARE, edge_dim=3, hidden_channels=5),
        layer(conv.PDNConv, "unnormalised", "edge_attr", **SQUARE, edge_dim=3, hidden_channels=5, normalize=False),
    ],
    pyg.GeneralConv: [
        layer(conv.GeneralConv, "with edges", "edge_attr", **SQUARE, in_edge_channels=3, heads=2),
        layer(conv.GeneralConv, "attention", **SQUARE, heads=2, attention=True, l2_normalize=True),
        layer(
            conv.GeneralConv,
            "dot product",
            **SQUARE,
            attention=True,
            attention_type="dot_product",
            directed_msg=False,
            aggr="mean",
        ),
    ],
    pyg.HEATConv: [
        layer(
            conv.HEATConv,
            name,
            call=of_heats,
            **SQUARE,
            num_node_types=2,
            num_edge_types=NUM_TYPES,
            edge_type_emb_dim=2,
            edge_dim=3,
            edge_attr_emb_dim=4,
            **more,
        )
        for name, more in (("heads", {"heads": 2}), ("averaged", {"heads": 3, "concat": False}))
    ],
    pyg.HeteroConv: [
        layer(
            conv.HeteroConv,
            "summed",
            call=of_relations,
            convs=Made(lambda: {r: conv.SAGEConv(F_IN, F_OUT) for r in RELATIONS}),
        ),
        layer(
            conv.HeteroConv,
            "of several kinds",
            call=of_relations,
            convs=Made(
                lambda: dict(
                    zip(
                        RELATIONS,
                        [conv.GATConv(F_IN, F_OUT), conv.EdgeConv(mlp(2 * F_IN, F_OUT)()), conv.LEConv(F_IN, F_OUT)],
                        strict=True,
                    )
                )
            ),
            aggr="max",
        ),
    ],
    pyg.HANConv: [
        layer(conv.HANConv, "one head", call=of_relations, **SQUARE, metadata=(["n"], RELATIONS)),
        layer(conv.HANConv, "heads", call=of_relations, **SQUARE, metadata=(["n"], RELATIONS), heads=2),
    ],
    pyg.HGTConv: [
        layer(conv.HGTConv, "heads", call=of_relations, **SQUARE, metadata=(["n"], RELATIONS), heads=2),
        layer(
            conv.HGTConv,
            "skip",
            call=of_relations,
            in_channels=F_IN,
            out_channels=F_IN,
            metadata=(["n"], RELATIONS),
            heads=3,
        ),
    ],
    pyg.GPSConv: [
        layer(conv.GPSConv, "multihead", channels=F_IN, conv=Made(lambda: conv.GCNConv(F_IN, F_IN)), heads=2),
        layer(
            conv.GPSConv,
            "performer, GINE within",
            "edge_attr",
            channels=F_IN,
            conv=Made(lambda: conv.GINEConv(mlp(F_IN, F_IN)(), edge_dim=3)),
            heads=3,
            attn_type="performer",
            attn_kwargs={"head_channels": 4},
        ),
    ],
    pyg.WLConv: [
        layer(conv.WLConv, "colours", call=of_colours),
        layer(conv.WLConv, "one-hot, twice", call=of_one_hot_colours),
    ],
    pyg.SplineConv: [
        layer(conv.SplineConv, "mean", call=of_splines, **SQUARE, dim=2, kernel_size=3),
        layer(
            conv.SplineConv,
            "max, closed",
            call=of_splines,
            **SQUARE,
            dim=2,
            kernel_size=[3, 4],
            is_open_spline=False,
            aggr="max",
        ),
    ],
    pyg.MeshCNNConv: [
        layer(conv.MeshCNNConv, "plain", graph="mesh", **SQUARE),
        layer(
            conv.MeshCNNConv,
            "own networks",
            graph="mesh",
            **SQUARE,
            kernels=Made(lambda: torch.nn.ModuleList([torch.nn.Linear(F_IN, F_OUT, bias=False) for _ in range(5)])),
        ),
    ],
    pyg.LGConv: [
        layer(conv.LGConv, "weighted", "edge_weight"),
        layer(conv.LGConv, "unnormalised", normalize=False, aggr="mean"),
    ],
    pyg.PointGNNConv: [
        layer(
            conv.PointGNNConv,
            "max",
            call=of_points,
            mlp_h=mlp(F_IN, 3),
            mlp_f=mlp(F_IN + 3, F_OUT),
            mlp_g=mlp(F_OUT, F_IN),
        ),
        layer(
            conv.PointGNNConv,
            "batch norm within",
            call=of_points,
            mlp_h=mlp(F_IN, 3),
            mlp_f=mlp(F_IN + 3, F_OUT),
            mlp_g=mlp(F_OUT, F_IN, norm=True),
            aggr="mean",
        ),
    ],
    pyg.AntiSymmetricConv: [
        layer(conv.AntiSymmetricConv, "GCN within", in_channels=F_IN, num_iters=2),
        layer(
            conv.AntiSymmetricConv,
            "LE within",
            "edge_weight",
            in_channels=F_IN,
            phi=Made(lambda: conv.LEConv(F_IN, F_IN)),
        ),
    ],
    pyg.DirGNNConv: [
        layer(conv.DirGNNConv, "SAGE within", conv=Made(lambda: conv.SAGEConv(F_IN, F_OUT))),
        layer(
            conv.DirGNNConv, "GCN within", conv=Made(lambda: conv.GCNConv(F_IN, F_OUT)), alpha=0.3, root_weight=False
        ),
    ],
    pyg.MixHopConv: [
        layer(conv.MixHopConv, "weighted", "edge_weight", **SQUARE),
        layer(conv.MixHopConv, "powers 1 and 3", **SQUARE, powers=[1, 3], add_self_loops=False),
    ],
}
CASES = {cls.__name__: cases for cls, cases in _CASES.items()}


def bare(cls: type) -> Made:
    """A layer whose constructor needs a package that is not here."""

    def build() -> torch.nn.Module:
        module = cls.__new__(cls)
        torch.nn.Module.__init__(module)
        return module

    return Made(build)


# Refused: how such a layer comes about, and what the refusal says of it.
REFUSED: dict[str, tuple[Callable[[], torch.nn.Module], str]] = {
    "CuGraphSAGEConv": (bare(conv.CuGraphSAGEConv), "a format of its own"),
    "CuGraphGATConv": (bare(conv.CuGraphGATConv), "a format of its own"),
    "CuGraphRGCNConv": (bare(conv.CuGraphRGCNConv), "a format of its own"),
    "FusedGATConv": (bare(conv.FusedGATConv), "a format of its own"),
    "GravNetConv": (bare(conv.GravNetConv), "looks for neighbours among all rows"),
    "DynamicEdgeConv": (bare(conv.DynamicEdgeConv), "looks for neighbours among all rows"),
    "XConv": (bare(conv.XConv), "looks for neighbours among all rows"),
    "PANConv": (lambda: conv.PANConv(F_IN, F_OUT, 2), "powers of the whole adjacency matrix"),
}


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
        (out * probe[g.node_ids if "node_ids" in g else slice(None)]).sum().backward()
    grads = {name: torch.zeros_like(p) if p.grad is None else p.grad for name, p in module.named_parameters()}
    leaves = {name: g[name].grad for name in (*NODE_LEAVES, *EDGE_LEAVES)}
    return Result(out.detach(), leaves, grads, dict(module.named_buffers()))

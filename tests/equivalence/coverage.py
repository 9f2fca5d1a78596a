"""Every layer class of ``torch_geometric.nn.conv``: at least two configurations to compare, or why there are none.

docs/layers.md is generated from what is here.
"""

import torch
from torch_geometric import nn as pyg
from torch_geometric.nn import conv

from tests.equivalence.cases import (
    DEGREES,
    F_IN,
    F_OUT,
    NUM_TYPES,
    RELATIONS,
    SQUARE,
    Case,
    Made,
    layer,
    mlp,
    of_colours,
    of_heats,
    of_histories,
    of_hyperedges,
    of_negatives,
    of_one_hot_colours,
    of_points,
    of_relations,
    of_splines,
    of_surfaces,
    of_weighted_hyperedges,
    with_x0,
    with_x0_weighted,
)
from tests.equivalence.coverage_walking import WALKING

_OTHERS: dict[type, list[Case]] = {
    pyg.ResGatedGraphConv: [
        layer(conv.ResGatedGraphConv, "plain", **SQUARE),
        layer(conv.ResGatedGraphConv, "with edges", "edge_attr", **SQUARE, edge_dim=3),
    ],
    pyg.AGNNConv: [
        layer(conv.AGNNConv, "learned"),
        layer(conv.AGNNConv, "fixed, no self-loops", requires_grad=False, add_self_loops=False),
    ],
    pyg.GINEConv: [
        layer(conv.GINEConv, "projected edges", "edge_attr", nn=mlp(F_IN, F_OUT), edge_dim=3),
        layer(
            conv.GINEConv, "batch norm within", "edge_attr", nn=mlp(F_IN, F_OUT, norm=True), edge_dim=3, train_eps=True
        ),
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
    pyg.GENConv: [
        layer(conv.GENConv, "softmax, learned", "edge_attr", **SQUARE, learn_t=True, edge_dim=3),
        layer(
            conv.GENConv, "power mean, message norm", **SQUARE, aggr="powermean", learn_p=True, msg_norm=True, norm=None
        ),
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
}
CASES = {cls.__name__: cases for cls, cases in (WALKING | _OTHERS).items()}


_FORMAT = "it needs the whole graph in a format of another package"
_NEIGHBOURS = "it looks for neighbours among all rows by an operator of another package, which is refused"
# Not compared, and why: all need packages that the tests do without.
REFUSED = {
    **dict.fromkeys(("CuGraphSAGEConv", "CuGraphGATConv", "CuGraphRGCNConv", "FusedGATConv"), _FORMAT),
    **dict.fromkeys(("GravNetConv", "DynamicEdgeConv", "XConv"), _NEIGHBOURS),
    "PANConv": "it makes a sparse matrix of the edges, for its powers, which is refused",
}

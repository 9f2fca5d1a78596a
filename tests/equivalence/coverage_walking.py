"""The configurations of layers that walk, at least in the first of them."""

from torch_geometric import nn as pyg
from torch_geometric.nn import conv

from tests.equivalence.cases import (
    F_IN,
    F_OUT,
    NUM_TYPES,
    SQUARE,
    Case,
    layer,
    mlp,
    of_signs,
    of_signs_twice,
    with_x0,
    with_x0_weighted,
)

WALKING: dict[type, list[Case]] = {
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
    pyg.TAGConv: [
        layer(conv.TAGConv, "weighted", "edge_weight", **SQUARE),
        layer(conv.TAGConv, "unnormalised", **SQUARE, K=2, normalize=False),
    ],
    pyg.GINConv: [
        layer(conv.GINConv, "sum", nn=mlp(F_IN, F_OUT), train_eps=True),
        layer(conv.GINConv, "batch norm within, mean", nn=mlp(F_IN, F_OUT, norm=True), aggr="mean"),
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
    pyg.SignedConv: [
        layer(conv.SignedConv, "first", call=of_signs, **SQUARE, first_aggr=True),
        layer(conv.SignedConv, "second", call=of_signs_twice, **SQUARE, first_aggr=False),
    ],
    pyg.ClusterGCNConv: [
        layer(conv.ClusterGCNConv, "plain", **SQUARE),
        layer(conv.ClusterGCNConv, "diagonal", **SQUARE, diag_lambda=0.5),
    ],
    pyg.GCN2Conv: [
        layer(conv.GCN2Conv, "shared", call=with_x0, channels=F_IN, alpha=0.2, theta=0.5, layer=2),
        layer(conv.GCN2Conv, "weighted", call=with_x0_weighted, channels=F_IN, alpha=0.2, shared_weights=False),
    ],
    pyg.WLConvContinuous: [
        layer(conv.WLConvContinuous, "plain"),
        layer(conv.WLConvContinuous, "weighted", "edge_weight"),
    ],
    pyg.PDNConv: [
        layer(conv.PDNConv, "plain", "edge_attr", **SQUARE, edge_dim=3, hidden_channels=5),
        layer(conv.PDNConv, "unnormalised", "edge_attr", **SQUARE, edge_dim=3, hidden_channels=5, normalize=False),
    ],
    pyg.LGConv: [
        layer(conv.LGConv, "weighted", "edge_weight"),
        layer(conv.LGConv, "unnormalised", normalize=False, aggr="mean"),
    ],
    pyg.MixHopConv: [
        layer(conv.MixHopConv, "weighted", "edge_weight", **SQUARE),
        layer(conv.MixHopConv, "powers 1 and 3", **SQUARE, powers=[1, 3], add_self_loops=False),
    ],
}

"""Every class of ``torch_geometric.nn.models``: how it is built and called on a graph, or why it is not.

docs/layers.md is generated from what is here.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch_geometric import nn as pyg
from torch_geometric.data import Data
from torch_geometric.nn import models
from torch_geometric.utils import scatter

from tests.equivalence.cases import DEGREES, F_IN, F_OUT, Made, mlp
from tests.equivalence.graphs import NUM_CLASSES, NUM_NODES

NODES, EDGES, GRAPHS, LOSS = "node", "edge", "graph", "graph: a loss"


@dataclass(frozen=True)
class ModelCase:
    """One configuration: how a model is built, how it is called, and what the result has a row for.

    Attributes:
        rows: a row per node, per edge, per graph (the same on all ranks), or a single loss.
        training: whether it is called in training.
    """

    name: str
    build: Callable[[], torch.nn.Module]
    call: Callable[[Any, Data], Tensor]
    rows: str = NODES
    training: bool = True


def _model(
    cls: type,
    name: str,
    *arguments: str,
    call: Callable[[Any, Data], Tensor] | None = None,
    rows: str = NODES,
    training: bool = True,
    **settings: Any,
) -> ModelCase:
    def plain_call(module: Any, g: Data) -> Tensor:
        return module(g.x, g.edge_index, **{argument: g[argument] for argument in arguments})

    def build() -> torch.nn.Module:
        return cls(**{k: v() if isinstance(v, Made) else v for k, v in settings.items()})

    return ModelCase(name, build, call or plain_call, rows, training)


class _TwoHeaded(torch.nn.Module):
    """An encoder of means and logarithms of standard deviations, as the documentation of VGAE has it."""

    def __init__(self):
        super().__init__()
        self.first = pyg.GCNConv(F_IN, F_OUT)
        self.mean, self.deviation = pyg.GCNConv(F_OUT, 4), pyg.GCNConv(F_OUT, 4)

    def forward(self, x: Tensor, edge_index: Tensor) -> tuple[Tensor, Tensor]:
        hidden = self.first(x, edge_index).relu()
        return self.mean(hidden, edge_index), self.deviation(hidden, edge_index)


class _EdgeModel(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.nn = torch.nn.Linear(2 * F_IN + 3, 5)

    def forward(self, src: Tensor, dst: Tensor, edge_attr: Tensor, u: Any, batch: Any) -> Tensor:
        return self.nn(torch.cat([src, dst, edge_attr], dim=1)).tanh()


class _NodeModel(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.nn = torch.nn.Linear(F_IN + 5, F_OUT)

    def forward(self, x: Tensor, edge_index: Tensor, edge_attr: Tensor, u: Any, batch: Any) -> Tensor:
        mean = scatter(edge_attr, edge_index[1], dim=0, dim_size=x.size(0), reduce="mean")
        return self.nn(torch.cat([x, mean], dim=1))


def _of_rows(module: Any, g: Data) -> Tensor:
    return module(g.x)


def _of_layers(module: Any, g: Data) -> Tensor:
    return module([g.x, g.x.tanh(), g.x.sin()])


def _of_layers_by_type(module: Any, g: Data) -> Tensor:
    return module({"n": [g.x, g.x.tanh(), g.x.sin()]})["n"]


def _of_edges_and_nodes(module: Any, g: Data) -> Tensor:
    return module(g.x, g.edge_index, g.edge_attr)[0]


def _reconstruction(module: Any, g: Data) -> Tensor:
    present, absent = g.edge_index[:, g.edge_type < 2], g.edge_index[:, g.edge_type == 2]
    z = module.encode(g.x, present)
    return module.recon_loss(z, present, absent)


def _with_kl(module: Any, g: Data) -> Tensor:
    return _reconstruction(module, g) + module.kl_loss() + module.kl_loss(g.x, g.x.tanh())


def _with_discriminator(module: Any, g: Data) -> Tensor:
    return _reconstruction(module, g) + module.reg_loss(module.encode(g.x, g.edge_index))


def _variational_with_discriminator(module: Any, g: Data) -> Tensor:
    return _with_kl(module, g) + module.reg_loss(module.encode(g.x, g.edge_index))


def _of_signs(module: Any, g: Data) -> Tensor:
    return module(g.x, g.edge_index[:, g.edge_type == 0], g.edge_index[:, g.edge_type > 0])


def _discriminated(module: Any, g: Data) -> Tensor:
    return module.discriminate(_of_signs(module, g), g.edge_index)


def _labels(module: Any, g: Data) -> Tensor:
    return module(g.y, g.edge_index, mask=g.train_mask)


def _weighted_labels(module: Any, g: Data) -> Tensor:
    return module(g.x.sigmoid(), g.edge_index, edge_weight=g.edge_weight.detach())


def _corrected(module: Any, g: Data) -> Tensor:
    soft = g.x[:, :NUM_CLASSES].detach().softmax(dim=-1)
    return module(soft, g.y[g.train_mask], g.train_mask, g.edge_index)


def _by_graphs(module: Any, g: Data) -> Tensor:
    return module(g.x, g.edge_index, batch=g.node_type, batch_size=2)


def _molecules(module: Any, g: Data) -> Tensor:
    return module(g.x, g.edge_index, g.edge_attr, g.node_type)


def _one_molecule(module: Any, g: Data) -> Tensor:
    return module(g.x, g.edge_index, g.edge_attr, torch.zeros_like(g.node_type))


def _fingerprints(module: Any, g: Data) -> Tensor:
    return module(g.x, g.edge_index, g.node_type)


def _one_graph(module: Any, g: Data) -> Tensor:
    return module(g.x, g.edge_index, torch.zeros_like(g.node_type))


def _global_attention(module: Any, g: Data) -> Tensor:
    module._global = True
    return _one_graph(module, g)


def _semantic_labels(module: Any, g: Data) -> Tensor:
    out = module(g.x, g.edge_index, g.edge_weight)
    hidden = module.get_semantic_labels(g.x, g.y, g.train_mask)
    return out.index_add(0, g.train_mask.nonzero().view(-1), hidden)


def _without_rows(module: Any, g: Data) -> Tensor:
    return module(None, g.edge_index, g.edge_weight)


def _links(module: Any, g: Data) -> Tensor:
    return module(g.edge_index, edge_weight=g.edge_weight)


def _link_loss(module: Any, g: Data) -> Tensor:
    return module.link_pred_loss(_links(module, g), g.edge_type > 0)


def _ranking_loss(module: Any, g: Data) -> Tensor:
    scores = _links(module, g)
    ids = torch.arange(g.num_nodes)
    chosen = module.recommendation_loss(scores, scores.detach().sin(), node_id=ids[g.train_mask], lambda_reg=0.1)
    return chosen + module.recommendation_loss(scores.tanh(), scores.detach().cos(), lambda_reg=0.2)


def _masked(module: Any, g: Data) -> Tensor:
    return module(g.x, g.y, g.train_mask)


def _of_a_copy(module: Any, g: Data) -> Tensor:
    return module(g.x.clone(), g.edge_index)  # it frees its input


_THREE = {"in_channels": F_IN, "hidden_channels": 8, "num_layers": 3, "out_channels": 4}
_PNA = {"aggregators": ["mean", "max", "std"], "scalers": ["identity", "amplification"], "deg": DEGREES}
_GCN = Made(lambda: models.GCN(F_IN, 8, 2, 4))
_BLOCK = {"conv": Made(lambda: pyg.GATConv(F_IN, F_IN)), "norm": Made(lambda: pyg.GraphNorm(F_IN))}
_BLOCK["act"] = Made(torch.nn.Tanh)
_SGFORMER = {"in_channels": F_IN, "hidden_channels": 8, "out_channels": 4, "trans_dropout": 0.0, "gnn_dropout": 0.0}
_POLYNORMER = {"in_channels": F_IN, "hidden_channels": 4, "out_channels": 4, "local_layers": 2}
_POLYNORMER |= {"in_dropout": 0.0, "dropout": 0.0, "global_dropout": 0.0}
_FP = {"in_channels": F_IN, "hidden_channels": 8, "out_channels": 4, "num_layers": 2}

CASES: dict[str, list[ModelCase]] = {
    "MLP": [
        _model(models.MLP, "batch norm", call=_of_rows, channel_list=[F_IN, 8, 4]),
        _model(models.MLP, "graph norm", call=_of_rows, channel_list=[F_IN, 8, 4], norm="graph_norm"),
    ],
    "GCN": [
        _model(models.GCN, "jumping", "edge_weight", **_THREE, jk="cat", norm="batch"),
        *(
            _model(models.GCN, norm, **_THREE, norm=norm, norm_kwargs=settings)
            for norm, settings in {
                "graph_norm": {},
                "layer_norm": {},
                "instance_norm": {"affine": True},
                "pair_norm": {},
                "diff_group_norm": {"groups": 2},
            }.items()
        ),
    ],
    "GraphSAGE": [
        _model(models.GraphSAGE, "jumping", **_THREE, jk="max"),
        _model(models.GraphSAGE, "layer norm of several graphs", call=_by_graphs, **_THREE, norm="layer_norm"),
    ],
    "GIN": [
        _model(models.GIN, "batch norm", **_THREE, norm="batch"),
        _model(models.GIN, "instance norm of several graphs", call=_by_graphs, **_THREE, norm="instance_norm"),
    ],
    "GAT": [
        _model(models.GAT, "jumping LSTM", "edge_attr", **_THREE, heads=2, edge_dim=3, jk="lstm"),
        _model(models.GAT, "version 2", **_THREE, v2=True, heads=2),
    ],
    "PNA": [_model(models.PNA, "three aggregations", **_THREE, **_PNA)],
    "EdgeCNN": [_model(models.EdgeCNN, "three layers", **_THREE)],
    "JumpingKnowledge": [
        _model(models.JumpingKnowledge, mode, call=_of_layers, mode=mode, channels=F_IN, num_layers=3)
        for mode in ("cat", "max", "lstm")
    ],
    "HeteroJumpingKnowledge": [
        _model(
            models.HeteroJumpingKnowledge,
            mode,
            call=_of_layers_by_type,
            types=["n"],
            mode=mode,
            channels=F_IN,
            num_layers=3,
        )
        for mode in ("cat", "lstm")
    ],
    "MetaLayer": [
        _model(
            models.MetaLayer,
            "edges and nodes",
            call=_of_edges_and_nodes,
            edge_model=Made(_EdgeModel),
            node_model=Made(_NodeModel),
        )
    ],
    "InnerProductDecoder": [_model(models.InnerProductDecoder, "of edges", rows=EDGES)],
    "GAE": [_model(models.GAE, "reconstruction", call=_reconstruction, rows=LOSS, encoder=_GCN)],
    "VGAE": [
        _model(
            models.VGAE, "both losses, evaluation", call=_with_kl, rows=LOSS, training=False, encoder=Made(_TwoHeaded)
        )
    ],
    "ARGA": [
        _model(
            models.ARGA,
            "both losses",
            call=_with_discriminator,
            rows=LOSS,
            encoder=_GCN,
            discriminator=mlp(4, 1),
        )
    ],
    "ARGVA": [
        _model(
            models.ARGVA,
            "all losses, evaluation",
            call=_variational_with_discriminator,
            rows=LOSS,
            training=False,
            encoder=Made(_TwoHeaded),
            discriminator=mlp(4, 1),
        )
    ],
    "SignedGCN": [
        _model(models.SignedGCN, "rows", call=_of_signs, in_channels=F_IN, hidden_channels=8, num_layers=2),
        _model(
            models.SignedGCN,
            "scores",
            call=_discriminated,
            rows=EDGES,
            in_channels=F_IN,
            hidden_channels=8,
            num_layers=2,
        ),
    ],
    "DeepGCNLayer": [
        *(_model(models.DeepGCNLayer, block, **_BLOCK, block=block) for block in ("res+", "res", "dense", "plain")),
        _model(models.DeepGCNLayer, "recomputed", **_BLOCK, block="res+", ckpt_grad=True),
    ],
    "LabelPropagation": [
        _model(models.LabelPropagation, "of some labels", call=_labels, num_layers=3, alpha=0.8),
        _model(models.LabelPropagation, "of rows, weighted", call=_weighted_labels, num_layers=2, alpha=0.5),
    ],
    "CorrectAndSmooth": [
        _model(
            models.CorrectAndSmooth,
            name,
            call=_corrected,
            num_correction_layers=3,
            correction_alpha=0.9,
            num_smoothing_layers=2,
            smoothing_alpha=0.7,
            autoscale=autoscale,
        )
        for name, autoscale in (("scaled", True), ("fixed", False))
    ],
    "AttentiveFP": [
        _model(models.AttentiveFP, name, call=call, rows=GRAPHS, **_FP, edge_dim=3, num_timesteps=2)
        for name, call in (("two graphs", _molecules), ("one graph", _one_molecule))
    ],
    "RECT_L": [
        _model(models.RECT_L, "with semantic labels", call=_semantic_labels, in_channels=F_IN, hidden_channels=8)
    ],
    "LINKX": [
        _model(
            models.LINKX,
            "weighted",
            "edge_weight",
            num_nodes=NUM_NODES,
            in_channels=F_IN,
            hidden_channels=8,
            out_channels=4,
            num_layers=2,
            num_edge_layers=2,
        ),
        _model(
            models.LINKX,
            "edges alone",
            call=_without_rows,
            num_nodes=NUM_NODES,
            in_channels=F_IN,
            hidden_channels=8,
            out_channels=4,
            num_layers=1,
        ),
    ],
    "LightGCN": [
        _model(models.LightGCN, name, call=call, rows=rows, num_nodes=NUM_NODES, embedding_dim=4, num_layers=2)
        for name, call, rows in (
            ("scores", _links, EDGES),
            ("link loss", _link_loss, LOSS),
            ("ranking loss", _ranking_loss, LOSS),
        )
    ],
    "MaskLabel": [
        _model(models.MaskLabel, method, call=_masked, num_classes=NUM_CLASSES, out_channels=F_IN, method=method)
        for method in ("add", "concat")
    ],
    "GroupAddRev": [
        _model(models.GroupAddRev, name, call=_of_a_copy, conv=Made(build), num_groups=2)
        for name, build in (
            ("SAGE within", lambda: pyg.SAGEConv(F_IN // 2, F_IN // 2)),
            ("GATv2 within", lambda: pyg.GATv2Conv(F_IN // 2, F_IN // 2)),
        )
    ],
    "PMLP": [
        _model(models.PMLP, "training", **_THREE),
        _model(models.PMLP, "evaluation", **_THREE, training=False),
    ],
    "NeuralFingerprint": [
        _model(models.NeuralFingerprint, "two graphs", call=_fingerprints, rows=GRAPHS, **_FP),
        _model(models.NeuralFingerprint, "one graph", rows=GRAPHS, **_FP),
    ],
    "SGFormer": [
        _model(models.SGFormer, "added", call=_one_graph, **_SGFORMER, trans_num_heads=2),
        _model(models.SGFormer, "concatenated", call=_one_graph, **_SGFORMER, aggregate="cat"),
    ],
    "Polynormer": [
        _model(models.Polynormer, "local", call=_one_graph, **_POLYNORMER),
        _model(models.Polynormer, "global", call=_global_attention, **_POLYNORMER, local_attn=True, pre_ln=True),
        _model(models.Polynormer, "global, shared", call=_global_attention, **_POLYNORMER, qk_shared=True),
    ],
    "ARLinkPredictor": [
        _model(models.ARLinkPredictor, "scores", rows=EDGES, in_channels=F_IN, hidden_channels=8, num_layers=3)
    ],
}
_WHOLE = (
    "its summary, corruption and loss",
    "it chooses among all rows",
    "it looks for neighbours among all positions",
)
_WALKS = "it walks over the whole graph by an operator of another package, which is refused"
_MOLECULES = "it looks for neighbours among all positions by an operator of another package, which is refused"
_EVENTS = "it takes events in time, not a graph"
REFUSED = {
    **dict.fromkeys(("Node2Vec", "MetaPath2Vec"), _WALKS),
    **dict.fromkeys(("SchNet", "DimeNet", "DimeNetPlusPlus", "GNNFF", "ViSNet"), _MOLECULES),
    **dict.fromkeys(("TGNMemory", "RENet"), _EVENTS),
    "DeepGraphInfomax": "not compared as a model; see tests/programs",
    "GraphUNet": "it multiplies sparse matrices of the edges, which is refused",
    "GPSE": "it adds a node to each graph",
    "GPSENodeEncoder": "it takes what GPSE precomputed on whole graphs",
    "LPFormer": "it multiplies rows of the whole adjacency matrix",
}
FUNCTIONS = dict.fromkeys(
    ("to_captum_model", "to_captum_input", "captum_output_to_dicts"),
    "no model: it hands the whole graph to the package Captum; explain a trained model on the whole graph",
)

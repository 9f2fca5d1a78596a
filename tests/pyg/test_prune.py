"""What cannot be pruned exactly is refused, by the same error on all ranks."""

import re
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch.utils.checkpoint import checkpoint
from torch_geometric import nn as pyg
from torch_geometric.data import HeteroData
from torch_geometric.nn import models
from torch_geometric.utils import dropout_edge

import fullgraph as fg
from fullgraph.errors import FullgraphError
from tests.equivalence.cut import cut_once
from tests.equivalence.graphs import NUM_CLASSES, NUM_FEATURES, awkward_graph
from tests.ranks import run_ranks

SHAPE = (NUM_FEATURES, 8, 2, NUM_CLASSES)


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return cut_once(tmp_path_factory.mktemp("graphs"), awkward_graph())("random", 2)


class Plain(torch.nn.Module):
    """Two layers and what is done with the first one's rows."""

    def __init__(self, first: Any = None, between: Callable[..., Any] = lambda rows, x, edge_index: rows):
        super().__init__()
        self.first = first or pyg.SAGEConv(NUM_FEATURES, NUM_FEATURES)
        self.second, self.between = pyg.SAGEConv(NUM_FEATURES, NUM_CLASSES), between

    def forward(self, x: Any, edge_index: Any) -> Any:
        return self.second(self.between(self.first(x, edge_index), x, edge_index), edge_index)


class Checkpointed(Plain):
    def forward(self, x: Any, edge_index: Any) -> Any:
        rows = checkpoint(self.first, x.requires_grad_(), edge_index, use_reentrant=False)
        return self.second(rows, edge_index)


def _pooled(rows: Any, x: Any, edge_index: Any) -> Any:
    return rows + fg.global_mean_pool(rows, None, edge_index)


class Weighing(Plain):
    def forward(self, x: Any, edge_index: Any) -> Any:
        rows, _ = self.first(x, edge_index, return_attention_weights=True)
        return self.second(rows, edge_index)


class Reading(Plain):
    def __init__(self) -> None:
        super().__init__()
        self.readout = pyg.aggr.MeanAggregation()


MODELS: dict[str, tuple[Callable[[], torch.nn.Module], str]] = {
    "more layers": (lambda: models.GCN(NUM_FEATURES, 8, 3, NUM_CLASSES), "has more layers .* num_layers is: 2"),
    "fewer layers": (lambda: models.GCN(NUM_FEATURES, 8, 1, NUM_CLASSES), "has fewer; .* num_layers: 1"),
    "a norm": (lambda: models.GCN(*SHAPE, norm="batch_norm"), r"norms\.0.*\(BatchNorm1?d?\): it normalises by all"),
    "a norm in a layer": (lambda: models.GIN(*SHAPE, norm="batch_norm"), "it normalises by all rows"),
    "two hops": (lambda: Plain(pyg.TAGConv(NUM_FEATURES, NUM_FEATURES)), r"first \(TAGConv\): it does not walk, or"),
    "another layer": (lambda: Plain(pyg.ClusterGCNConv(6, 6)), r"first \(ClusterGCNConv\): it does not walk"),
    "a readout": (lambda: Reading(), r"readout \(MeanAggregation\): it reads all rows"),
    "pooling": (lambda: Plain(between=_pooled), "too few rows to pool: global_mean_pool"),
    "another aggregation": (lambda: Plain(pyg.GCNConv(6, 6, aggr="max")), "neither a sum nor a mean: GCNConv"),
    "attention weights": (lambda: Weighing(pyg.GATConv(6, 6)), "it is asked for its attention weights: GATConv"),
    "attributes and loops": (lambda: Plain(pyg.GATv2Conv(6, 6, edge_dim=2)), "it does not walk, and adds self-loops"),
    "reversed": (
        lambda: Plain(pyg.SAGEConv(6, 6, flow="target_to_source")),
        "passes messages from targets to sources: SAGEConv",
    ),
    "pairs of rows": (
        lambda: Plain(between=lambda rows, x, edge_index: (rows, rows)),
        "rows of sources and rows of destinations: SAGEConv",
    ),
    "chosen rows": (lambda: Plain(between=lambda rows, x, edge_index: rows[:-1]), "needs rows that follow, row by row"),
    "in place": (lambda: Plain(between=lambda rows, x, edge_index: x.add_(rows)), r"make a new tensor .*: add_"),
    "reading the index": (
        lambda: Plain(between=lambda rows, x, edge_index: rows[edge_index[0]]),
        "stands for other edges in each layer",
    ),
    "dropping edges": (
        lambda: Plain(between=lambda rows, x, edge_index: dropout_edge(edge_index)),
        "stands for other edges in each layer",
    ),
    "a checkpoint": (lambda: Checkpointed(), "stands for other edges in each layer"),
}


def message_of(world: fg.World, path: str, step: Callable[[fg.World, Any], Any]) -> str:
    data = fg.open(path, world)
    try:
        step(world, data)
    except FullgraphError as error:
        return f"{type(error).__name__}: {error}"
    return "nothing was raised"


def refusal(world: fg.World, path: str, step: Any, *args: Any) -> str:
    return message_of(world, path, lambda world, data: step(data, *args))


def run_model(data: Any, name: str) -> None:
    model = MODELS[name][0]().double()
    pruned = fg.prune(data, data.train_mask, 2)
    fg.prepare(model, None, pruned)
    out = model(pruned.x, pruned.edge_index)
    fg.mean_loss(F.cross_entropy, out, pruned.y, pruned.mask, pruned).backward()


@pytest.mark.parametrize("name", MODELS)
def test_what_needs_more_rows_is_refused_on_all_ranks_alike(path, name):
    first, second = run_ranks(2, refusal, path, run_model, name)
    assert first == second
    assert re.match("UnsupportedLayer|UnsupportedOperation|InputError", first)
    assert re.search(MODELS[name][1], first), first


def prune_with(data: Any, what: str) -> None:
    rank, mask = data.world.rank, data.train_mask
    if what == "length":
        mask = mask[: len(mask) - rank]
    elif what == "none":
        mask = torch.zeros_like(mask)
    elif what == "floats":
        mask = mask.double()
    elif what == "indices":
        mask = torch.tensor([0, len(mask) - 1 + rank])
    if what == "twice":
        data = fg.prune(data, mask, 2)
    if what == "types":
        data = HeteroData()
    layers = {"layers": 0, "other layers": 2 + rank}.get(what, 2)
    fg.prune(data, mask, layers, batch_norm="exact" if what == "norm" else "refuse")


@pytest.mark.parametrize(
    ("what", "message"),
    [
        ("length", r"InputError: rank 1: a mask needs one entry for each of the \d+ rows this rank owns: \(\d+,\)"),
        ("none", "InputError: fullgraph.prune needs a node whose output is wanted, but the mask chooses none on any"),
        ("floats", r"InputError: .*a mask is bool \[num_nodes\] or int64 indices \[n\]: torch.float64"),
        ("indices", r"InputError: rank 1: a mask of indices chooses among the (\d+) rows this rank owns: 0 to \1"),
        ("layers", "InputError: num_layers must be at least 1: 0"),
        ("other layers", r"GraphMismatch: .* arguments of fullgraph.prune; rank 0 has \(2, .*\) but rank 1 has: \(3, "),
        ("norm", "InputError: batch_norm must be one of refuse, computed: 'exact'"),
        ("twice", "InputError: this takes data from fullgraph.open, but was given data from fullgraph.prune"),
        ("types", "InputError: fullgraph.prune takes a graph of one node type"),
    ],
)
def test_wrong_arguments_are_refused_on_all_ranks_alike(path, what, message):
    first, second = run_ranks(2, refusal, path, prune_with, what)
    assert first == second
    assert re.match(message, first), first


def misuse(data: Any, what: str) -> None:
    model = models.GCN(*SHAPE).double()
    pruned = fg.prune(data, torch.tensor([1]), 2)
    if what == "unprepared":
        model(pruned.x, pruned.edge_index)
    fg.prepare(model, None, data)
    if what == "a layer alone":
        model.convs[0](pruned.x, pruned.edge_index)
    if what == "whole rows":
        model(data.x, pruned.edge_index)
    if what == "whole edges":
        Mixed(data.edge_index, data)(pruned.x, pruned.edge_index)
    if what == "explain":
        fg.explain(model, pruned)


class Mixed(Plain):
    def __init__(self, other: Any, data: Any):
        super().__init__()
        self.other = other
        fg.prepare(self.double(), None, data)

    def forward(self, x: Any, edge_index: Any) -> Any:
        return self.second(self.first(x, self.other), edge_index)


@pytest.mark.parametrize(
    ("what", "message"),
    [
        ("unprepared", "within a call of the prepared model"),
        ("a layer alone", "within a call of the prepared model"),
        ("whole rows", "one for each of pruned.input_rows as pruned.x has them"),
        ("whole edges", "walks over the edge_index that the model is given, and no other: SAGEConv"),
        ("explain", "this takes data from fullgraph.open, but was given data from fullgraph.prune"),
    ],
)
def test_misuse_is_refused_on_all_ranks_alike(path, what, message):
    first, second = run_ranks(2, refusal, path, misuse, what)
    assert first == second
    assert message in first


def test_the_pruned_data_has_the_rows_of_both_ends(path):
    data = fg.open(path)
    wanted = torch.tensor([40, 3])
    pruned = fg.prune(data, wanted, 1)
    assert pruned.output_rows.tolist() == [3, 40]
    assert torch.equal(pruned.y, data.y[[3, 40]])
    assert torch.equal(pruned.x, data.x[pruned.input_rows])
    sources = data.edge_index.plain[0][torch.isin(data.edge_index.plain[1], wanted)]
    assert pruned.input_rows.tolist() == torch.cat([sources, wanted]).unique().tolist()
    assert pruned.rows_by_level == (len(pruned.input_rows), 2)
    assert (pruned.num_nodes, pruned.num_classes, len(pruned.mask)) == (len(pruned.x), NUM_CLASSES, 2)
    assert torch.equal(pruned.edge_weight, data.edge_weight)


def test_a_trained_norm_is_not_refused_in_evaluation(path):
    data, model = fg.open(path), models.GCN(*SHAPE, norm="batch_norm").double()
    fg.prepare(model, None, data)
    model(data.x, data.edge_index)
    model.eval()
    pruned = fg.prune(data, data.train_mask, 2)
    whole = model(data.x, data.edge_index)[data.train_mask]
    torch.testing.assert_close(model(pruned.x, pruned.edge_index), whole, rtol=1e-10, atol=1e-12)


def test_the_edges_of_a_level_are_kept_in_four_bytes_an_end(path):
    data = fg.open(path)
    levels = fg.prune(data, torch.tensor([3]), 1).edge_index.levels  # pyright: ignore[reportAttributeAccessIssue, reportOptionalMemberAccess]
    edges = levels.restricted(data.edge_index, 0)
    num_edges = int((data.edge_index.plain[1] == 3).sum())
    assert edges.shape == edges.plain.shape == (2, num_edges)
    assert edges.untyped_storage().nbytes() + edges.ids.untyped_storage().nbytes() == 8 + 8 * num_edges

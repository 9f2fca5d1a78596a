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
        return self.second(checkpoint(self.first, x, edge_index, use_reentrant=False), edge_index)


def _pooled(rows: Any, x: Any, edge_index: Any) -> Any:
    return rows + pyg.global_mean_pool(rows, None)


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
    "a norm as a function": (
        lambda: Plain(between=lambda rows, *_: rows - rows.mean(0)),
        "asks for something of all rows",
    ),
    "a sum": (lambda: Plain(between=lambda rows, *_: rows / rows.norm()), "asks for something of all rows"),
    "a size": (lambda: Plain(between=lambda rows, *_: pyg.GraphSizeNorm()(rows)), "asks for something of all rows"),
    "a norm in a layer": (lambda: models.GIN(*SHAPE, norm="batch_norm"), "it normalises by all rows"),
    "two hops": (lambda: Plain(pyg.TAGConv(NUM_FEATURES, NUM_FEATURES)), r"first \(TAGConv\): it does not walk, or"),
    "another layer": (lambda: Plain(pyg.ClusterGCNConv(6, 6)), r"first \(ClusterGCNConv\): it does not walk"),
    "a readout": (lambda: Reading(), r"readout \(MeanAggregation\): it reads all rows"),
    "pooling": (lambda: Plain(between=_pooled), "asks for something of all rows"),
    "another aggregation": (lambda: Plain(pyg.GCNConv(6, 6, aggr="max")), "neither a sum nor a mean: GCNConv"),
    "attention weights": (lambda: Weighing(pyg.GATConv(6, 6)), "it is asked for its attention weights: GATConv"),
    "reversed": (
        lambda: Plain(pyg.SAGEConv(6, 6, flow="target_to_source")),
        "passes messages from targets to sources: SAGEConv",
    ),
    "pairs of rows": (
        lambda: Plain(between=lambda rows, x, edge_index: (rows, rows)),
        "rows of sources and rows of destinations: SAGEConv",
    ),
    "chosen rows": (lambda: Plain(between=lambda rows, x, edge_index: rows[:-1]), "needs rows that follow, row by row"),
    "in place": (
        lambda: Plain(between=lambda rows, x, edge_index: x.add_(rows)),
        r"add_ would change the number of rows",
    ),
    "reading the index": (
        lambda: Plain(between=lambda rows, x, edge_index: rows[edge_index[0]]),
        "stands for other edges in each layer",
    ),
    "dropping edges": (
        lambda: Plain(between=lambda rows, x, edge_index: dropout_edge(edge_index)),
        "stands for other edges in each layer",
    ),
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
    fg.prepare(model, pruned)
    F.cross_entropy(model(pruned.x, pruned.edge_index), pruned.y).backward()


@pytest.mark.parametrize("name", MODELS)
def test_what_needs_more_rows_is_refused_on_all_ranks_alike(path, name):
    first, second = run_ranks(2, refusal, path, run_model, name)
    assert first == second
    assert re.match("UnsupportedLayer|UnsupportedOperation|InputError", first)
    assert re.search(MODELS[name][1], first), first


def prune_with(data: Any, what: str) -> None:
    rank, mask = fg.init().rank, data.train_mask
    if what == "length":
        mask = mask[:-1]
    elif what == "none":
        mask = torch.zeros_like(mask)
    elif what == "floats":
        mask = mask.double()
    elif what == "ids":
        mask = torch.tensor([0, len(mask)])
    if what == "twice":
        data = fg.prune(data, mask, 2)
    if what == "types":
        data = HeteroData()
    layers = {"layers": 0, "other layers": 2 + rank}.get(what, 2)
    fg.prune(data, mask, layers, batch_norm="exact" if what == "norm" else "refuse")


@pytest.mark.parametrize(
    ("what", "message"),
    [
        ("length", r"InputError: a mask needs one entry for each of the 67 nodes: \(66,\)"),
        ("none", "InputError: fullgraph.prune needs a node whose output is wanted, but the mask chooses none"),
        ("floats", r"InputError: a mask is bool \[num_nodes\] or int64 ids \[n\]: torch.float64"),
        ("ids", r"InputError: a mask of ids chooses among 67 nodes: 0 to 67"),
        ("layers", "InputError: num_layers must be at least 1: 0"),
        ("other layers", r"GraphMismatch: .* arguments of fullgraph.prune; rank 0 has \(2, .*\) but rank 1 has: \(3, "),
        ("norm", "InputError: batch_norm must be one of refuse, computed: 'exact'"),
        ("twice", "InputError: fullgraph.prune takes data .* from fullgraph.open: data from fullgraph.prune"),
        ("types", "InputError: data must come from fullgraph.open"),
    ],
)
def test_wrong_arguments_are_refused_on_all_ranks_alike(path, what, message):
    first, second = run_ranks(2, refusal, path, prune_with, what)
    assert first == second
    assert re.match(message, first), first


def unprepared(data: Any) -> None:
    pruned = fg.prune(data, torch.tensor([1]), 2)
    models.GCN(*SHAPE).double()(pruned.x, pruned.edge_index)


def test_a_model_that_was_not_prepared_cannot_read_the_edges(path):
    first, second = run_ranks(2, refusal, path, unprepared)
    assert first == second
    assert "only the layers of a prepared model" in first


def of_other_edges(data: Any) -> None:
    model = Plain().double()
    fg.prepare(model, data)
    pruned = fg.prune(data, torch.tensor([1]), 2)
    model.between = lambda rows, x, edge_index: model.first(rows, data.edge_index)
    with pytest.raises(RuntimeError, match="the size of rows"):
        model(pruned.x, pruned.edge_index)


def test_other_edges_do_not_fit_the_rows_of_a_level(path):
    assert run_ranks(2, refusal, path, of_other_edges) == ["nothing was raised"] * 2


def the_same(data: Any, name: str) -> tuple[list[float], list[torch.Tensor]]:
    """Losses without pruning and with it, and the gradients."""
    torch.manual_seed(3)
    model = fg.prepare(SAME[name]().double(), data)
    pruned = fg.prune(data, data.train_mask, 2)
    losses, gradients = [], []
    for x, edge_index, mask in (
        (data.x, data.edge_index, data.train_mask),
        (pruned.x, pruned.edge_index, pruned.mask),
        (data.x, pruned.edge_index, pruned.mask),
    ):
        model.zero_grad()
        loss = F.cross_entropy(model(x, edge_index)[mask], data.y[data.train_mask])
        loss.backward()
        losses.append(loss.item())
        gradients.append(torch.cat([p.grad.view(-1) for p in model.parameters()]))
    return losses, gradients


SAME: dict[str, Callable[[], torch.nn.Module]] = {
    "rows of all nodes": lambda: models.GCN(*SHAPE),
    "a checkpoint": lambda: Checkpointed(),
    "a model within": lambda: torch.nn.ModuleDict({"inner": Plain()})["inner"],
    "rows of all nodes later": lambda: Plain(between=lambda rows, x, edge_index: rows + x),
}


def _same_on(world: fg.World, path: str, name: str) -> Any:
    return the_same(fg.open(path, world), name)


@pytest.mark.parametrize("name", SAME)
def test_what_gives_the_same(path, name):
    for losses, gradients in run_ranks(2, _same_on, path, name):
        assert losses == pytest.approx([losses[0]] * 3, rel=1e-12)
        for gradient in gradients:
            torch.testing.assert_close(gradient, gradients[0], rtol=1e-10, atol=1e-12)


def test_a_layer_alone_computes_the_rows_of_its_level(path):
    data, conv = fg.open(path), pyg.SAGEConv(NUM_FEATURES, 3).double()
    fg.prepare(conv, data)
    pruned = fg.prune(data, torch.tensor([40, 3]), 1)
    torch.testing.assert_close(
        fg.gather(conv(pruned.x, pruned.edge_index)), fg.gather(conv(data.x, data.edge_index))[[3, 40]]
    )


def test_the_pruned_data_has_the_rows_of_both_ends(path):
    data, whole = fg.open(path), awkward_graph()
    wanted = torch.tensor([40, 3])
    pruned = fg.prune(data, wanted, 1)
    inputs, outputs = fg.gather(pruned.input_rows), fg.gather(pruned.output_rows)
    assert outputs.tolist() == [3, 40]
    assert torch.equal(fg.gather(pruned.y), whole.y[[3, 40]])
    assert torch.equal(fg.gather(pruned.x), whole.x[inputs])
    assert torch.equal(fg.gather(data.x[pruned.input_rows]), whole.x[inputs])
    sources = whole.edge_index[0][torch.isin(whole.edge_index[1], wanted)]
    assert inputs.tolist() == torch.cat([sources, wanted]).unique().tolist()
    assert pruned.rows_by_level == (len(pruned.input_rows), 2)
    assert (pruned.num_nodes, pruned.num_classes, len(pruned.mask)) == (len(pruned.x), NUM_CLASSES, 2)
    assert torch.equal(fg.gather(pruned.edge_weight), whole.edge_weight)


def test_a_trained_norm_is_not_refused_in_evaluation(path):
    data, model = fg.open(path), models.GCN(*SHAPE, norm="batch_norm").double()
    fg.prepare(model, data)
    model(data.x, data.edge_index)
    model.eval()
    pruned = fg.prune(data, data.train_mask, 2)
    whole = model(data.x, data.edge_index)[data.train_mask]
    torch.testing.assert_close(fg.gather(model(pruned.x, pruned.edge_index)), fg.gather(whole), rtol=1e-10, atol=1e-12)


def test_the_edges_of_a_level_take_no_memory_beside_their_walks(path):
    data = fg.open(path)
    pruned: Any = fg.prune(data, torch.tensor([3]), 1)
    edges = pruned.edge_index.levels.restricted(data.edge_index.walked, 0)
    num_edges = int((awkward_graph().edge_index[1] == 3).sum())
    src, dst = edges.ends()
    assert src.shape == dst.shape == (num_edges,)
    assert src.dtype == dst.dtype == torch.int32
    assert not any(isinstance(value, torch.Tensor) for value in vars(edges).values())
